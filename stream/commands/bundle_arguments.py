"""Arguments of `fraudstream rules bundle, sign, apply, rollback, disable, status`."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path

EXAMPLES = """
  fraudstream rules bundle rules/ --output change.bundle
  fraudstream rules sign change.bundle --key ana.pem --signer ana
  fraudstream rules apply change.bundle --note "four instead of five"
  fraudstream rules rollback --note "too many alerts"
  fraudstream rules disable card.testing.small_auths --note "blocks a whole bank"
  fraudstream rules status --json"""

_HOME = "fraudstream.stream.commands.bundles"
Add = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def add_actions(action: Add) -> None:
    """Declare the actions; ``action(name, does, text)`` makes a parser."""
    bundle = action(
        "bundle", _later("bundle"), "check and test a directory, and write it as one file to be applied"
    )
    bundle.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="default: rules/")
    bundle.add_argument("--output", type=Path, required=True, metavar="F", help="the bundle file")
    _add_model(bundle)
    signing = action("sign", _later("sign"), "agree to a bundle with an Ed25519 key")
    signing.add_argument(
        "bundle", type=Path, metavar="BUNDLE", help="file of `rules bundle`; it is written again"
    )
    signing.add_argument(
        "--key", type=Path, required=True, metavar="PEM", help="private key, as OpenSSL writes it"
    )
    signing.add_argument("--signer", required=True, metavar="NAME", help="as in `policy: {signers: ...}`")
    signing.add_argument("--password-file", type=Path, metavar="F", help="password of the key")
    apply = action("apply", _later("apply"), "put a bundle in force on all partitions, or on none")
    apply.add_argument("source", nargs="?", type=Path, metavar="BUNDLE|DIR", help="default: rules/")
    apply.add_argument(
        "--switch-on",
        action="append",
        default=[],
        metavar="ID",
        help="a rule that was switched off may act again",
    )
    _add_model(apply)
    back = action("rollback", _later("rollback"), "go back to a bundle that was in force before")
    back.add_argument(
        "--to", metavar="HASH", help="one of the last ten (default: the one before), or its beginning"
    )
    off = action("disable", _later("disable"), "switch one rule off at once; one person may")
    off.add_argument("id", metavar="ID", help="the rule")
    for parser in (apply, back, off):
        parser.add_argument(
            "--note", default="", required=parser is off, metavar="TEXT", help="why; stands in the log"
        )
        parser.add_argument("--by", metavar="NAME", help="who (default: this user)")
    status = action(
        "status", _later("status"), "what is in force on each partition, and what was refused last"
    )
    status.add_argument("--json", action="store_true", help="for programs")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="F", help="model file, or none (default: the shipped model)")


def _later(name: str) -> Callable[[argparse.Namespace], int]:
    """Return an action that is imported when it is called: Kafka's client costs others nothing."""

    def run(args: argparse.Namespace) -> int:
        does: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(_HOME), name)
        return does(args)

    return run
