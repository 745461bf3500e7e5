"""Rule files made to hurt whoever reads them: each kind of bomb, chain and flood that was named."""

from __future__ import annotations

from collections.abc import Callable

from support.sample_rules import sample_files

PAYMENT = "rulesets/payment.yaml"
WHEN = "merchant.mcc in lists.charity_mcc"
MIB = 1 << 20


def with_condition(text: str) -> dict[str, bytes]:
    """Return the sample with an expression of ours in a live rule."""
    files = sample_files()
    quoted = "'" + text.replace("'", "''") + "'"
    files[PAYMENT] = files[PAYMENT].replace(WHEN.encode(), quoted.encode())
    return files


def with_rules(text: str) -> dict[str, bytes]:
    """Return the sample with a rule set of ours."""
    return sample_files() | {"rulesets/bomb.yaml": text.encode()}


def aliases(levels: int, width: int) -> str:
    """Return a file whose value has ``width ** levels`` items when it is written out."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels + 1)]
    return "\n".join(lines) + "\n"


def merges(levels: int) -> str:
    """Return merge keys that pure readers follow for hours."""
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 4)}]}}" for n in range(1, levels + 1)]
    return "\n".join(lines) + "\n"


HEAD = "apiVersion: fraudstream/v1\nkind: RuleSet\nrules:\n"
RULE = """\
- id: flood.r%d
  title: flood
  owner: a@b.c
  severity: low
  on: payment
  when: txn.amount > %d
  tests:
  - {name: a, given: {txn.amount: 999999}, expect: {match: true}}
  - {name: b, given: {txn.amount: 0}, expect: {match: false}}
"""


def flood(count: int) -> dict[str, bytes]:
    """Return many small rules, in files below the limit of one."""
    files = sample_files()
    per_file = 3_500
    for begin in range(0, count, per_file):
        rules = "".join(RULE % (at, at) for at in range(begin, min(begin + per_file, count)))
        files[f"rulesets/flood{begin}.yaml"] = (HEAD + rules).encode()
    return files


def sixteen(text: str) -> dict[str, bytes]:
    """Return as many files as fit, each as large as one may be."""
    body = (HEAD + text).encode()[: MIB - 10]
    return sample_files() | {f"rulesets/f{at:02}.yaml": body for at in range(15)}


BOMBS: dict[str, Callable[[], dict[str, bytes]]] = {
    "nine to the ninth aliases": lambda: with_rules(aliases(9, 9)),
    "thirteen levels of merge keys": lambda: with_rules(merges(13)),
    "20,000 nested brackets": lambda: with_rules("rules: " + "[" * 20_000 + "]" * 20_000),
    "100,000 nested mappings": lambda: with_rules("{a: " * 100_000),
    "a mapping as deep as blocks can be": lambda: with_rules(
        "".join(" " * at + "a:\n" for at in range(1_000))
    ),
    "20,000 rules": lambda: flood(20_000),
    "300,000 values": lambda: with_rules("rules: [" + "x," * 300_000 + "]"),
    "15 files of small values": lambda: sixteen("- [" + "x," * 500_000),
    "15 files of small mappings": lambda: sixteen("- {a: 1}\n" * 120_000),
    "15 files of one text": lambda: sixteen("- " + "x" * MIB),
    "15 files of quotes": lambda: sixteen("- '" + "''" * MIB),
    "15 files of comments": lambda: sixteen("# x\n" * MIB),
    "a file beyond the limit": lambda: with_rules("x" * (2 * MIB)),
    "2,000 files": lambda: sample_files() | {f"rulesets/{at}.yaml": b"a: 1" for at in range(2_000)},
    "100,000 keys that are one": lambda: with_rules("a: 1\n" * 100_000),
    "a tag that runs a command": lambda: with_rules("rules: !!python/object/apply:os.system ['true']"),
    "a 200,000-term chain": lambda: with_condition(" and ".join(["txn.amount > 1"] * 200_000)),
    "a chain just within 4,096 characters": lambda: with_condition(
        " and ".join(["txn.amount>1"] * 240)[:4_096]
    ),
    "100,000 brackets": lambda: with_condition("(" * 100_000 + "txn.amount > 1" + ")" * 100_000),
    "2,000 brackets": lambda: with_condition("(" * 2_000 + "txn.amount > 1" + ")" * 2_000),
    "50,000 nots": lambda: with_condition("not " * 50_000 + "device.trusted"),
    "1,000 minus signs": lambda: with_condition("-" * 1_000 + "1 > txn.amount"),
    "a tower of powers": lambda: with_condition("9**9**9 > txn.amount"),
    "a number of 50,000 digits": lambda: with_condition("txn.amount > " + "9" * 50_000),
    "a string times a number": lambda: with_condition("'x' * 999999999 == txn.channel"),
    "a list of 100,000": lambda: with_condition("txn.country in [" + ",".join(['"CN"'] * 100_000) + "]"),
    "a name of 20,000 parts": lambda: with_condition("x." * 20_000 + "x"),
    "attributes": lambda: with_condition("txn.amount.__class__.__mro__ == 1"),
    "a catastrophic pattern": lambda: with_condition('matches(merchant.mcc, "(a+)+$")'),
    "a placeholder that formats": lambda: {
        **sample_files(),
        PAYMENT: sample_files()[PAYMENT].replace(b"{en: known charity,", b'{en: "{txn.amount:>999999999}",'),
    },
    "conditions that double": lambda: {
        **sample_files(),
        PAYMENT: sample_files()[PAYMENT].replace(
            WHEN.encode(),
            b"c40\n  conditions:\n    c0: txn.amount > 1\n"
            + b"".join(
                b"    c%d: (c%d and c%d) or not c%d\n" % (n, n - 1, n - 1, n - 1) for n in range(1, 41)
            ),
        ),
    },
    "a thousand time zones": lambda: with_rules(
        HEAD.replace("rules:", "defaults: {timezone: " + "../" * 1_000 + "etc/passwd}\nrules:")
        + RULE % (1, 1)
    ),
}
"""By name; each is refused with findings, within the limits of a child."""
