"""`fraudstream rules bundle, sign, apply, rollback, disable, status`: rules on their way into force."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fraudstream.models.model import Model
from fraudstream.rules.bundle import Bundle, ListVersion, Mode
from fraudstream.rules.compiler.compile import (
    BundleError,
    archive_files,
    archive_hash,
    make_archive,
    read_list_versions,
)
from fraudstream.rules.compiler.switch_off import switched_off
from fraudstream.stream.bundle_file import BundleFile, of_bundle, read_bundle, write_bundle
from fraudstream.stream.changes import Action, Change, new_id
from fraudstream.stream.core import CORE
from fraudstream.stream.directory import Checked, check_directory, check_files
from fraudstream.stream.enrichment.directory import TableFiles
from fraudstream.stream.errors import BadUse, CannotCheck, Exit, NothingToCheck, Refusal
from fraudstream.stream.facts import read_facts
from fraudstream.stream.judging import Ground, judge
from fraudstream.stream.proposing import InForceOn, Proposer, View, by_worker
from fraudstream.stream.recovery import check_bundle
from fraudstream.stream.settings import Settings, load_settings
from fraudstream.stream.shipped import default_rules, named_model
from fraudstream.stream.signing import Signature, load_private_key, public_text
from fraudstream.stream.signing import sign as signature_of

LOG_SHOWN = 10


def _me() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def bundle(args: argparse.Namespace) -> int:
    """Check, test and write a directory as one file."""
    path = args.directory or default_rules()
    checked = check_directory(path, named_model(args.model))
    if checked.bundle is None:
        print(checked.problem, file=sys.stderr)
        return Exit.FINDINGS
    write_bundle(args.output, of_bundle(checked.bundle))
    print(f"{args.output}: {len(checked.bundle.rules):,} rules, bundle {checked.bundle.hash}")
    return Exit.OK


def sign(args: argparse.Namespace) -> int:
    """Add a signature to a bundle file."""
    content = read_bundle(args.bundle)
    password = None if args.password_file is None else args.password_file.read_bytes().strip()
    key = load_private_key(args.key, password)
    signature = signature_of(key, args.signer, content.hash)
    others = [item for item in content.signatures if item.signer != args.signer]
    write_bundle(args.bundle, replace(content, signatures=(*others, signature)))
    print(f"{args.bundle}: {args.signer} agrees to {content.hash}; public key {public_text(key)}")
    return Exit.OK


def apply(args: argparse.Namespace) -> int:
    """Put a bundle or a directory in force."""
    settings, model = load_settings(), named_model(args.model)
    source = args.source or default_rules()
    if source.is_dir():
        signatures: tuple[Signature, ...] = ()
        checked = check_directory(source, model, TableFiles(settings.rules_dir))
    else:
        content = read_bundle(source)
        signatures = content.signatures
        checked = check_files(archive_files(content.archive), model, TableFiles(settings.rules_dir))
        _compare(source, content, checked)
    if checked.bundle is None:
        print(checked.problem, file=sys.stderr)
        return Exit.FINDINGS
    with _proposer(settings) as proposer:
        change = _change(
            "apply", checked.bundle.hash, args, switch_on=tuple(args.switch_on), signatures=signatures
        )
        return _propose(proposer, settings, change, checked.bundle.archive, model)


def _compare(path: Path, content: BundleFile, checked: Checked) -> None:
    """Refuse a bundle that another compiler made: it was reviewed and tested as something else."""
    bundle = checked.bundle
    if bundle is None or (content.core == CORE and content.digest == bundle.program.digest):
        return
    if content.core != CORE:
        raise Refusal(f"{path} was made with core {content.core}, this is core {CORE}; make it again")
    raise Refusal(f"{path}: the compiled form is not what its rules compile to here; make it again")


def rollback(args: argparse.Namespace) -> int:
    """Go back to a bundle that was in force."""
    settings = load_settings()
    with _proposer(settings) as proposer:
        now, kept = {item.bundle for item in proposer.in_force()}, proposer.kept()
        before = [name for name in kept if name not in now]
        if args.to is not None:
            wanted = args.to if args.to.startswith("sha256:") else f"sha256:{args.to}"
            before = [name for name in kept if name.startswith(wanted)]
            if len(before) != 1:
                known = "\n".join(f"  {name}" for name in kept)
                raise BadUse(
                    f"`--to {args.to}` names {len(before)} of the bundles that were in force last:\n{known}"
                )
        if args.to is None:
            before = _without_off(proposer, before)
        if not before:
            raise NothingToCheck(
                "no other bundle was in force before this one in which every rule that is switched off is off"
            )
        change = _change("rollback", before[0], args)
        return _propose(proposer, settings, change, proposer.archive(before[0]), named_model(None))


def _without_off(proposer: Proposer, names: list[str]) -> list[str]:
    """Return the first bundle in which no rule acts that is switched off, none if there is none."""
    pointer = proposer.refresh().pointer
    off = set() if pointer is None else set(pointer.off)
    for name in names if off else names[:1]:
        acting = (
            {rule.id for rule in proposer.bundle(name).rules if rule.mode is not Mode.SHADOW}
            if off
            else set()
        )
        if not acting & off:
            return [name]
    return []


def disable(args: argparse.Namespace) -> int:
    """Switch one rule off."""
    settings = load_settings()
    with _proposer(settings) as proposer:
        base = _base(proposer)
        if base is None:
            raise NothingToCheck("nothing is in force yet; no worker has started")
        if all(rule.id != args.id for rule in base.rules):
            raise BadUse(f"no rule `{args.id}` is evaluated in `{base.hash}`, which is in force")
        archive = make_archive(switched_off(archive_files(base.archive), args.id))
        change = _change("disable", archive_hash(archive), args, rule=args.id)
        return _propose(proposer, settings, change, archive, named_model(None))


def _change(action: Action, bundle: str, args: argparse.Namespace, **more: Any) -> Change:
    now_ms = time.time_ns() // 1_000_000
    return Change(new_id(now_ms), action, bundle, args.by or _me(), now_ms, args.note, **more)


def _base(proposer: Proposer) -> Bundle | None:
    found = proposer.in_force()
    if not found:
        return None
    names = [item.bundle for item in found]
    pointer = proposer.refresh().pointer
    return proposer.bundle(pointer.bundle if pointer is not None and pointer.bundle in names else names[0])


def _propose(
    proposer: Proposer, settings: Settings, change: Change, archive: bytes, model: Model | None
) -> int:
    if {item.bundle for item in proposer.in_force()} == {change.bundle}:
        print(f"{change.bundle} is in force already")
        return Exit.OK

    def unattended() -> None:
        pointer = proposer.refresh().pointer
        ground = Ground(_base(proposer), {} if pointer is None else pointer.off, proposer.kept())
        judged = judge(change, archive, ground, model, TableFiles(settings.rules_dir), None, running=False)
        if not judged.good or judged.checked.bundle is None:
            raise Refusal(f"nothing was put in force:\n{judged.problem}")
        check_bundle(judged.checked.bundle, read_facts(settings), settings.topics.input)

    found = proposer.propose(change, archive, unattended=unattended)
    if not found:
        print(f"{change.bundle}: no worker runs; it is in force when one starts")
    for item in found:
        print(f"partition {item.partition}: {item.bundle} from offset {item.since}")
    return Exit.OK


@contextmanager
def _proposer(settings: Settings) -> Iterator[Proposer]:
    proposer = Proposer(settings)
    try:
        yield proposer
    finally:
        proposer.close()


def status(args: argparse.Namespace) -> int:
    """Print what the topics say is in force."""
    with _proposer(load_settings()) as proposer:
        view, found, kept = proposer.refresh(), proposer.in_force(), proposer.kept()
        lists = _lists(proposer, found)
    if args.json:
        print(json.dumps(_document(view, found, kept, lists), indent=2))
    else:
        print("\n".join(_lines(view, found, kept, lists)))
    return Exit.OK


def _lists(proposer: Proposer, found: list[InForceOn]) -> dict[str, tuple[ListVersion, ...]]:
    """Return the versions of lists by bundle in force; a bundle whose content is gone has none."""
    out: dict[str, tuple[ListVersion, ...]] = {}
    for bundle in dict.fromkeys(item.bundle for item in found):
        with suppress(CannotCheck, BundleError):
            out[bundle] = read_list_versions(archive_files(proposer.archive(bundle)))
    return out


def _document(
    view: View, found: list[InForceOn], kept: list[str], lists: Mapping[str, tuple[ListVersion, ...]]
) -> dict[str, Any]:
    owners = by_worker(view.reports)
    pointer, refused = view.pointer, view.refused
    return {
        "partitions": [{**item._asdict(), "worker": owners.get(item.partition, "")} for item in found],
        "workers": [
            {
                "worker": r.worker,
                "change": r.change,
                "state": r.state,
                "problem": r.problem,
                "directory": r.directory,
                "at_ms": r.at_ms,
            }
            for r in view.reports.values()
        ],
        "change": "" if pointer is None else pointer.change,
        "off": {} if pointer is None else {rule: item.by for rule, item in pointer.off.items()},
        "kept": kept,
        "lists": [{"bundle": bundle, **asdict(item)} for bundle, items in lists.items() for item in items],
        "log": [
            {
                "id": c.id,
                "action": c.action,
                "bundle": c.bundle,
                "by": c.by,
                "at_ms": c.at_ms,
                "note": c.note,
                "rule": c.rule,
            }
            for c in view.changes.values()
        ],
        "refused": None
        if refused is None
        else {
            "worker": refused.worker,
            "change": refused.change,
            "problem": refused.problem,
            "at_ms": refused.at_ms,
        },
    }


def _lines(
    view: View, found: list[InForceOn], kept: list[str], lists: Mapping[str, tuple[ListVersion, ...]]
) -> Iterator[str]:
    owners = by_worker(view.reports)
    if not found:
        yield "nothing is in force: no worker has started yet"
    for item in found:
        worker = owners.get(item.partition)
        yield f"partition {item.partition}: {item.bundle} from offset {item.since}, {worker or 'no worker'}"
    if len({item.bundle for item in found}) > 1:
        yield "the partitions differ: a change is under way, or waits for a worker"
    yield from dict.fromkeys(_list_line(item) for items in lists.values() for item in items)
    if view.pointer is not None:
        for rule, off in view.pointer.off.items():
            yield f"switched off: {rule}, by {off.by} at {_time(off.at_ms)}"
    for change in list(view.changes.values())[-LOG_SHOWN:]:
        note = f" ({change.note})" if change.note else ""
        rule = f" {change.rule}" if change.rule else ""
        yield f"{_time(change.at_ms)} {change.action}{rule} {change.bundle[:19]} by {change.by}{note}"
    yield f"can be gone back to: {', '.join(name[:19] for name in kept) or 'nothing'}"
    if view.refused is not None:
        yield f"refused last, by {view.refused.worker} at {_time(view.refused.at_ms)}:"
        yield from (f"  {line}" for line in view.refused.problem.splitlines())
    for report in view.reports.values():
        if report.directory:
            yield f"the rules directory of {report.worker} is not in force:"
            yield from (f"  {line}" for line in report.directory.splitlines())


def _list_line(item: ListVersion) -> str:
    where = f", from {item.file}" if item.file else ""
    return f"list {item.name}: {item.items:,} items, version {item.version[:19]}{where}"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
