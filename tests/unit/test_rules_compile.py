"""From files to a bundle: columns, hashes, gates, archives, limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.sample_rules import changed, sample_files

from fraudstream.rules import BundleError, compile_archive, compile_isolated, compile_sources, read_directory
from fraudstream.rules.bundle import Action, Agg, Bundle, Field, Mode, Severity, Source, Type
from fraudstream.rules.compiler.compile import TOTAL_BYTES_MAX, archive_hash, make_archive

TINY_SCHEMA = """\
apiVersion: fraudstream/v1
kind: Schema
base_currency: USD
partition_key: customer.id
fields:
  event.id:    {path: tx_id, type: id, from: [string, integer], required: true}
  event.type:  {const: payment, type: enum, values: [payment]}
  event.time:  {path: data.time, type: time, required: true}
  customer.id: {path: data.customer, type: id, from: [string, integer], required: true}
  ccy:         {const: USD, type: category}
  txn.amount:  {path: data.amount, type: money, currency: ccy}
"""


def bundle_of(files: dict[str, bytes]) -> Bundle:
    """Return the bundle of files that must compile."""
    compiled = compile_sources(files)
    assert compiled.bundle is not None, [item.text for item in compiled.errors]
    return compiled.bundle


@pytest.fixture(scope="module")
def sample() -> Bundle:
    """The sample's bundle."""
    return bundle_of(sample_files())


def test_columns_follow_widths(sample: Bundle) -> None:
    """Ids, categories and places take two words; columns are gapless in the file's order."""
    column = 0
    for field in sample.schema.fields:
        assert field.column == column
        column += field.type.width
    assert sample.schema.words == column
    column = 0
    for feature in sample.features.features:
        for slot in feature.outputs:
            assert slot.column == column
            assert slot.source is Source.FEATURE
            column += slot.type.width
    assert sample.features.words == column


def test_schema_keeps_what_a_record_needs(sample: Bundle) -> None:
    """Paths, defaults, integers as ids, currencies by field name, classes."""
    schema = sample.schema
    assert schema.field("device.id").path == ("device", "id")
    assert (schema.field("txn.geo").path, schema.field("txn.geo").path2) == (("lat",), ("lon",))
    assert schema.field("account.id").from_integer
    assert schema.field("account.id").personal == "personal"
    assert schema.field("event.type").default == "payment"
    assert schema.field("txn.channel").default is None
    assert schema.field("txn.amount").currency == "txn.currency"
    assert schema.field("txn.balance_before").currency == "txn.currency"
    assert schema.field("txn.balance_before").signed
    assert not schema.field("txn.amount_original").convert
    assert schema.field("source.bank").const == "ICBC"
    assert schema.field("event.id").max_chars == 64
    assert schema.partition_key == "account.id"


def test_another_bank_needs_only_a_schema() -> None:
    """Other member names, integer ids, nesting and one constant currency."""
    bundle = bundle_of({"schema.yaml": TINY_SCHEMA.encode()})
    assert bundle.schema.field("txn.amount").path == ("data", "amount")
    assert bundle.schema.field("event.type").const == "payment"
    assert bundle.rules == ()
    assert bundle.features.features == ()
    assert set(bundle.slots) == {field.name for field in bundle.schema.fields} | {"model.score"}


def test_families_expand(sample: Bundle) -> None:
    """One declaration becomes aggregate x where x window; a count does not read `of`."""
    names = [item.name for item in sample.features.features if item.name.startswith("account.velocity")]
    assert names == [
        f"account.velocity_{agg}_{where}_{window}"
        for agg in ("count", "sum", "max")
        for where in ("out", "atm")
        for window in ("10m", "24h")
    ]
    by_name = {item.name: item for item in sample.features.features}
    count, total = by_name["account.velocity_count_out_24h"], by_name["account.velocity_sum_out_24h"]
    assert (count.of, total.of) == ((), ("txn.amount",))
    assert count.window_ms == 86_400_000
    assert count.where == total.where


def test_families_without_where() -> None:
    """Without `where` the name has no such part."""
    files = changed(
        "features.yaml", """    where: {out: 'txn.direction == "out"', atm: 'txn.channel == "atm"'}\n""", ""
    )
    files["rulesets/payment.yaml"] = files["rulesets/payment.yaml"].replace(b"count_out_24h", b"count_24h")
    assert "account.velocity_sum_10m" in bundle_of(files).slots


def test_equal_filters_are_shared(sample: Bundle) -> None:
    """Filters are listed once each; white space does not make a second one."""
    features = sample.features
    assert features.filters == (
        'event.type == "card_auth" and txn.amount < 2',
        'txn.status == "declined"',
        'txn.channel == "pos"',
        'txn.direction == "out"',
        'txn.channel == "atm"',
    )
    assert features.filter_program is not None
    assert features.filter_program.outputs == len(features.filters)
    assert {slot.source for slot in features.filter_program.slots} == {Source.FIELD}


def test_types_of_outputs(sample: Bundle) -> None:
    """What each aggregate gives and how its words are stored."""
    expected = {
        "card.declines_10m": (Type.INTEGER, "i"),
        "account.amount_mean_7d": (Type.MONEY, "f"),
        "device.customers_24h": (Type.INTEGER, "i"),
        "account.last_pos.time": (Type.TIME, "i"),
        "account.last_pos.geo": (Type.GEO, "f"),
        "account.last_pos.country": (Type.COUNTRY, "i"),
        "pair.first_seen": (Type.TIME, "i"),
        "account.idle": (Type.DURATION, "i"),
        "account.points_1h": (Type.NUMBER, "f"),
        "account.velocity_sum_out_10m": (Type.MONEY, "i"),
        "model.score": (Type.NUMBER, "f"),
        "txn.amount": (Type.MONEY, "i"),
    }
    assert {name: (sample.slots[name].type, sample.slots[name].repr) for name in expected} == expected
    assert "account.last_pos" not in sample.slots
    assert sample.slots["model.score"].source is Source.MODEL


def test_options_of_features(sample: Bundle) -> None:
    """Key tuples, counts, the current event, limits, time settings."""
    by_name = {item.name: item for item in sample.features.features}
    assert by_name["pair.first_seen"].key == ("account.id", "counterparty.id")
    assert by_name["device.customers_24h"].max_distinct == 50
    assert by_name["account.amount_mean_7d"].min_count == 2
    assert by_name["account.amount_mean_7d"].exclude_current
    assert by_name["account.idle"].exclude_current
    assert by_name["account.idle"].window_ms is None
    assert by_name["account.idle"].agg is Agg.SINCE_LAST
    assert not by_name["card.declines_10m"].exclude_current
    time = sample.features.time
    assert (time.allowed_lateness_ms, time.dedup_ms, time.max_events_per_key) == (
        1_800_000,
        86_400_000,
        5_000,
    )


def test_rules_are_ordered_and_gated(sample: Bundle) -> None:
    """Live and shadow rules in id order, then one shared output for each door."""
    assert [rule.id for rule in sample.rules] == [
        "card.far_away",
        "card.testing.small_auths",
        "pay.charity",
        "pay.large_for_account",
        "pay.shadow_model",
        "ref.watch",
    ]
    assert [rule.index for rule in sample.rules] == [0, 1, 2, 3, 4, 5]
    gates = [rule.gate for rule in sample.rules]
    assert gates == [6, 7, 8, 8, 8, 8]
    assert sample.program.outputs == 9
    rule = sample.rules[1]
    assert (rule.severity, rule.mode, rule.action) == (Severity.HIGH, Mode.LIVE, Action.BLOCK)
    assert (rule.score, rule.priority, rule.owner) == (60, 100, "cards@bank.example")
    assert sample.typologies[rule.typology].id == "card_testing"
    assert sample.rules[0].typology == -1
    assert [slot.name for slot in rule.reads] == ["card.declines_10m", "card.small_auths_10m"]


def test_policy_and_lists(sample: Bundle) -> None:
    """Bands in millionths, strongest first; rates exact; the zone of the policy."""
    assert [(band.at_micro, band.action) for band in sample.policy.model_bands] == [
        (970_000, Action.BLOCK),
        (900_000, Action.ALERT),
    ]
    assert sample.rates.items == {"USD": (71_034, 4), "JPY": (481, 4)}
    assert sample.policy.zone == "Asia/Shanghai"


def test_the_archive_gives_the_bundle_back(sample: Bundle) -> None:
    """Hash and program survive the road through the archive."""
    again = compile_archive(sample.archive)
    assert again.hash == sample.hash == archive_hash(sample.archive)
    assert again.archive == sample.archive
    assert again.rules == sample.rules
    assert again.schema == sample.schema
    assert again.program.slots == sample.program.slots
    assert json.loads(sample.archive)["format"] == 1


def test_the_hash_is_of_content_not_of_order() -> None:
    """The order in which a directory is read does not matter, a byte of a comment does."""
    files = sample_files()
    assert bundle_of(dict(reversed(files.items()))).hash == bundle_of(files).hash
    files["lists.yaml"] += b"# note\n"
    assert bundle_of(files).hash != bundle_of(sample_files()).hash


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"files":{},"format":2}',
        b'{"files":{"a":1},"format":1}',
        b"\xff",
        b"[" * 999,
    ],
)
def test_damaged_archives_are_refused(archive: bytes) -> None:
    """What is no archive raises BundleError, whatever it is."""
    with pytest.raises(BundleError):
        compile_archive(archive)


def test_archives_have_one_form(sample: Bundle) -> None:
    """The same files written otherwise would have another hash, so they are refused."""
    with pytest.raises(BundleError, match="canonical"):
        compile_archive(json.dumps(json.loads(sample.archive), indent=1).encode())


def test_an_archive_with_errors_says_which() -> None:
    """The errors of its files are in the exception."""
    archive = make_archive(changed("lists.yaml", "KP", "Korea"))
    with pytest.raises(BundleError, match=r"lists.yaml:5:38: error: `\"Korea\"` is not a country"):
        compile_archive(archive)


def test_what_needs_a_restart_changes_a_hash(sample: Bundle) -> None:
    """Schema and features have hashes of their own; rules, lists and classes do not touch them."""

    def hashes(files: dict[str, bytes]) -> tuple[bool, bool]:
        bundle = bundle_of(files)
        return bundle.schema.hash == sample.schema.hash, bundle.features.hash == sample.features.hash

    assert hashes(changed("rulesets/card.yaml", "priority: 100", "priority: 9")) == (True, True)
    assert hashes(changed("lists.yaml", "KP, ", "")) == (True, True)
    assert hashes(changed("schema.yaml", "card_id, type: id, class: personal", "card_id, type: id")) == (
        True,
        True,
    )
    assert hashes(changed("schema.yaml", "{path: mcc,", "{path: mcc, max_chars: 4,")) == (False, True)
    assert hashes(changed("features.yaml", "max: 50", "max: 60")) == (True, False)
    assert hashes(changed("features.yaml", "max_skew: 60s", "max_skew: 90s")) == (True, False)


def test_a_definition_keeps_its_hash_under_another_name(sample: Bundle) -> None:
    """State is keyed by the definition: a rename is no redefinition, a change of anything else is."""
    files = changed("features.yaml", "  account.points_1h: ", "  account.points_hour: ")
    files["rulesets/payment.yaml"] = files["rulesets/payment.yaml"].replace(b"points_1h", b"points_hour")
    old = {item.name: item.hash for item in sample.features.features}
    new = {item.name: item.hash for item in bundle_of(files).features.features}
    assert new["account.points_hour"] == old["account.points_1h"]
    assert len(set(old.values())) == len(old)


def test_hours_in_filters_belong_to_the_zone() -> None:
    """A filter that looks at the clock is another definition in another zone."""
    night = ("where: 'txn.status == \"declined\"'", "where: 'hour(event.time) < 6'")
    here = bundle_of(changed("features.yaml", *night))
    files = changed("features.yaml", *night)
    files["typologies.yaml"] = files["typologies.yaml"].replace(b"Asia/Shanghai", b"Europe/Berlin")
    there = bundle_of(files)
    changes = [
        a.name
        for a, b in zip(here.features.features, there.features.features, strict=True)
        if a.hash != b.hash
    ]
    assert changes == ["card.declines_10m"]


def test_a_directory_is_read_without_packs_and_code(tmp_path: Path) -> None:
    """Only the files of a bundle are taken, whatever else lies beside them."""
    for path, data in sample_files().items():
        target = tmp_path / path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(data)
    for path in (
        "packs/other/schema.yaml",
        "compiler/x.yaml",
        "rulesets/old.yml",
        "README.md",
        "rulesets/deep/x.yaml",
    ):
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("x: [")
    assert read_directory(tmp_path) == sample_files()
    with pytest.raises(NotADirectoryError):
        read_directory(tmp_path / "nowhere")


def test_too_much_is_refused_by_size() -> None:
    """More than 16 MiB in total, or too many files, are refused before anything is parsed."""
    files = {f"rulesets/{at}.yaml": b"#" * (1 << 20) for at in range(17)}
    assert sum(map(len, files.values())) > TOTAL_BYTES_MAX
    (error,) = compile_sources(files).errors
    assert "16 MiB" in error.message


def test_no_files_at_all() -> None:
    """An empty directory says what belongs into it."""
    (error,) = compile_sources({}).errors
    assert error.message == "the file is missing"


def test_a_child_compiles_the_same(sample: Bundle) -> None:
    """The isolated road gives the same bundle, and the same errors with positions."""
    compiled = compile_isolated(sample_files())
    assert compiled.bundle is not None
    assert compiled.bundle.hash == sample.hash
    broken = changed("lists.yaml", "KP", "Korea")
    assert compile_isolated(broken).diagnostics == compile_sources(broken).diagnostics


def test_a_child_beyond_its_limits_is_stopped() -> None:
    """Running out of memory ends the child, not the caller, and says so."""
    files = sample_files()
    files["rulesets/large.yaml"] = b"a: [" + b"x," * 190_000 + b"x]\n"
    for limit in ({"memory_bytes": 64 << 20}, {"cpu_seconds": 1}):
        files |= {f"rulesets/{at}.yaml": files["rulesets/large.yaml"] for at in range(8)}
        compiled = compile_isolated(files, **limit)
        assert compiled.bundle is None
        assert "compiling needs more than" in compiled.errors[0].message


def test_the_model_and_the_features_are_compared() -> None:
    """Inputs that are not declared, and rules that read a score without a model, are warned about."""
    found = compile_sources(sample_files(), ["txn.amount", "account.idel"]).diagnostics
    assert [(item.code, item.level) for item in found] == [("model-input", "warning")]
    assert "did you mean `account.idle`" in found[0].text
    found = compile_sources(sample_files(), []).diagnostics
    assert [item.code for item in found] == ["no-model"]


def test_fields_are_frozen_data() -> None:
    """A field of the bundle carries everything that the wire needs, by value."""
    field = bundle_of(sample_files()).schema.field("txn.direction")
    assert field == Field(
        name="txn.direction",
        type=Type.ENUM,
        column=field.column,
        path=("direction",),
        values=("in", "out"),
        default="out",
    )
