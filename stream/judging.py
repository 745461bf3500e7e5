"""Whether a change may be in force: compiled apart, tested, and agreed to where it widens something.

Nothing is trusted: not the proposer's own check, not the content's name, not the signatures' claims.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle, Mode, Rule
from fraudstream.rules.compiler.compile import (
    BundleError,
    archive_files,
    archive_hash,
    compile_sources,
    make_archive,
)
from fraudstream.rules.compiler.switch_off import switched_off
from fraudstream.rules.compiler.widening import widened
from fraudstream.stream.changes import Change, Off, Pointer
from fraudstream.stream.compiled_forms import CompiledForms
from fraudstream.stream.directory import Checked, check_files
from fraudstream.stream.enrichment.directory import TableFiles
from fraudstream.stream.pipeline import needs_rebuild
from fraudstream.stream.signing import SIGNATURES_WANTED, agreed

WIDENED_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Ground:
    """What a change is judged against."""

    base: Bundle | None
    """In force; None: nothing is yet."""
    off: Mapping[str, Off]
    kept: Collection[str]
    """Bundles that were in force and may be gone back to."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a change."""

    change: Change
    checked: Checked
    result: str
    """A value of ``reload_total``: ``applied`` if it may be in force."""
    problem: str
    base: str
    """Hash of the bundle against which it was judged, empty without one."""

    @property
    def good(self) -> bool:
        """Return whether it may be in force."""
        return self.result == "applied"


def judge(
    change: Change,
    archive: bytes,
    ground: Ground,
    model: Model | None,
    tables: TableFiles | None,
    forms: CompiledForms | None,
    *,
    running: bool,
) -> Judged:
    """Judge a change by its content. Blocks for a second or so.

    Args:
        change: what is wanted.
        archive: content of its bundle, as it was found.
        ground: what it is judged against.
        model: in force.
        tables: files of reference tables.
        forms: what was compiled before.
        running: a state goes on under it, so that it must fit.
    """

    def refuse(result: str, problem: str, checked: Checked | None = None) -> Judged:
        return Judged(change, checked or Checked(None, problem, 1), result, problem, base)

    base = "" if ground.base is None else ground.base.hash
    if archive_hash(archive) != change.bundle:
        return refuse("invalid", f"the content has another hash than `{change.bundle}`")
    try:
        files = archive_files(archive)
        if make_archive(files) != archive:
            return refuse("invalid", "the archive is not in canonical form; make it with `rules bundle`")
    except (BundleError, UnicodeError) as problem:
        return refuse("invalid", str(problem))
    checked = check_files(files, model, tables, forms)
    if checked.bundle is None or checked.compiled is None:
        return refuse("invalid", checked.problem, checked)
    return judge_checked(change, checked, ground, running=running)


def judge_checked(change: Change, checked: Checked, ground: Ground, *, running: bool) -> Judged:
    """Judge a change whose content compiled and passed its tests here."""
    assert checked.bundle is not None
    base = "" if ground.base is None else ground.base.hash
    if running and ground.base is not None:
        other = needs_rebuild(ground.base, checked.bundle)
        if other is not None:
            problem = (
                f"another {other}, which needs a restart: the state has to be built again from the input; "
                "the rules before stay in force"
            )
            return Judged(change, checked, "needs_restart", problem, base)
    problem = _not_agreed(change, checked, ground)
    return Judged(change, checked, "unapproved" if problem else "applied", problem, base)


def _not_agreed(change: Change, checked: Checked, ground: Ground) -> str:
    """Return why the people who have to have not agreed, empty if they have."""
    assert checked.bundle is not None
    on = [rule for rule in sorted(ground.off) if _acts(checked.bundle, rule) and rule not in change.switch_on]
    if on:
        who = ground.off[on[0]]
        return (
            f"`{on[0]}` was switched off by {who.by}; put it into state draft, shadow or retired, or let it "
            f"act again with `fraudstream rules apply DIR --switch-on {on[0]}`"
        )
    if ground.base is None or ground.base.hash == checked.bundle.hash:
        return ""
    if change.action == "disable":
        return _not_only_off(change, ground.base)
    if change.action == "rollback":
        if change.bundle in ground.kept:
            return ""
        return f"`{change.bundle}` is none of the {len(ground.kept)} bundles that were in force last"
    signers = ground.base.policy.signers
    if not signers:
        return ""
    assert checked.compiled is not None
    wider = widened(compile_sources(archive_files(ground.base.archive)), checked.compiled)
    wider += [f"rule {rule}: switched on again" for rule in change.switch_on if rule in ground.off]
    if not wider:
        return ""
    names = agreed(change.signatures, signers, change.bundle)
    if len(names) >= SIGNATURES_WANTED:
        return ""
    shown = "\n".join(f"  {line}" for line in wider[:WIDENED_SHOWN])
    more = f"\n  and {len(wider) - WIDENED_SHOWN:,} more" if len(wider) > WIDENED_SHOWN else ""
    have = f"only {names[0]}" if names else "nobody"
    return (
        f"the change widens what is blocked or let through and needs {SIGNATURES_WANTED} signatures of "
        f"{', '.join(signers)}; {have} has signed `{change.bundle}`. Wider:\n{shown}{more}"
    )


def _not_only_off(change: Change, base: Bundle) -> str:
    """Switching off needs one person, so it may change nothing else."""
    try:
        files = switched_off(archive_files(base.archive), change.rule)
    except KeyError:
        return f"there is no rule `{change.rule}` in `{base.hash}`, which is in force"
    if archive_hash(make_archive(files)) != change.bundle:
        return (
            f"`{change.bundle}` is not `{base.hash}`, which is in force, with `{change.rule}` switched off; "
            "was it changed meanwhile? Try again"
        )
    return ""


def off_after(pointer: Pointer | None, change: Change) -> dict[str, Off]:
    """Return the rules that are switched off once a change is in force.

    Whoever applies a directory has seen to them: it was refused if one of them acted unasked.
    """
    before = {} if pointer is None else dict(pointer.off)
    if change.action == "disable":
        return {**before, change.rule: Off(change.by, change.at_ms)}
    return before if change.action == "rollback" else {}


def _acts(bundle: Bundle, rule_id: str) -> bool:
    found: Rule | None = next((rule for rule in bundle.rules if rule.id == rule_id), None)
    return found is not None and found.mode is not Mode.SHADOW
