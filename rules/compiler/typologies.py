"""``typologies.yaml``: groups of rules and the policy from scores to decisions."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from fraudstream.rules.bundle import Action, ModelBand, Policy, Typology
from fraudstream.rules.compiler import shape as shapes
from fraudstream.rules.compiler.reader import Findings, MappingNode, ScalarNode
from fraudstream.rules.compiler.shape import Section
from fraudstream.rules.compiler.source import quoted
from fraudstream.rules.compiler.suggest import suggest
from fraudstream.rules.compiler.vocabulary import BAND, COMBINES, POLICY, TYPOLOGY
from fraudstream.rules.compiler.zones import zone_exists, zone_names

TYPOLOGIES_MAX = 1_000
ALERTS_MAX = 100_000_000
"""A day; more than the largest bank has transactions to look at."""
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
KEY_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""SubjectPublicKeyInfo of an Ed25519 key before its 32 bytes (RFC 8410)."""
_AT = re.compile(r"(0|1)(?:\.([0-9]{1,6}))?")


@dataclass(frozen=True, slots=True)
class DeclaredTypologies:
    """Typologies in the file's order, and where they were declared."""

    typologies: tuple[Typology, ...] = ()
    places: Mapping[str, ScalarNode] = field(default_factory=dict)


def zone_name(node: ScalarNode | None, default: str, findings: Findings) -> str:
    """Return the name of a time zone."""
    if node is None:
        return default
    if not zone_exists(node.text):
        hint = suggest(node.text, zone_names()) or "e.g. `Asia/Shanghai`"
        findings.error(node, f"{quoted(node.text)} is not a time zone", hint)
        return default
    return node.text


def read_policy(section: Section | None, findings: Findings) -> Policy:
    """Return the policy; without one: English, UTC and no model bands."""
    inner = None if section is None else section.section("policy", POLICY)
    if inner is None:
        return Policy()
    language = inner.scalar("language")
    if language is not None and LANGUAGE.fullmatch(language.text) is None:
        findings.error(language, f"`language` was {quoted(language.text)}, expected a code", "e.g. `en`")
    return Policy(
        language=language.text if language is not None else "en",
        zone=zone_name(inner.scalar("timezone"), "UTC", findings),
        model_bands=_read_bands(inner, findings),
        signers=_read_signers(inner, findings),
        alert_budget=inner.integer("alert_budget", 1, ALERTS_MAX, 0) or None,
    )


def _read_signers(section: Section, findings: Findings) -> dict[str, bytes]:
    signers: dict[str, bytes] = {}
    for key, node in section.table("signers"):
        name = shapes.name(key, "the name of a signer", findings)
        text = shapes.scalar(node, "the key of a signer", findings)
        if not name or text is None:
            continue
        found = public_key(text.text)
        if found is None:
            hint = "`openssl pkey -in KEY.pem -pubout` prints it between its two outer lines"
            findings.error(text, f"the key of {quoted(name)} is not an Ed25519 public key in base64", hint)
        elif found in signers.values():
            findings.error(
                text, f"the key of {quoted(name)} is another signer's too", "each has a key of his own"
            )
        else:
            signers[name] = found
    if len(signers) == 1 and not findings.failed:
        findings.error(
            section.key("signers"), "one signer alone can not agree with anybody", "name two or more"
        )
    return signers


def public_key(text: str) -> bytes | None:
    """Return the 32 bytes of an Ed25519 key written as in PEM files, None if it is none."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data[len(KEY_PREFIX) :] if data[: len(KEY_PREFIX)] == KEY_PREFIX and len(data) == 44 else None


def policy_segment(section: Section | None) -> ScalarNode | None:
    """Return what ``policy.segment`` names; it is resolved when all names are known."""
    node = None if section is None else section.node("policy")
    entry = node.entries.get("segment") if isinstance(node, MappingNode) else None
    return entry[1] if entry is not None and isinstance(entry[1], ScalarNode) else None


def _read_bands(section: Section, findings: Findings) -> tuple[ModelBand, ...]:
    bands: dict[Action, ModelBand] = {}
    for node in section.items("model_bands"):
        inner = Section.open(node, BAND, findings)
        if inner is None:
            continue
        at = inner.scalar("at")
        name = inner.choice("action", ("alert", "block"), "")
        match = None if at is None else _AT.fullmatch(at.text)
        micro = 0 if match is None else int(match[1] + (match[2] or "").ljust(6, "0"))
        if at is not None and not 0 < micro <= 1_000_000:
            findings.error(
                at, f"`at` was {quoted(at.text)}, expected above 0 to 1, at most 6 digits", "e.g. `0.97`"
            )
        if not name:
            continue
        action = Action[name.upper()]
        if action in bands:
            findings.error(inner.key("action"), f"a second model band with action `{name}`", "keep one")
        bands[action] = ModelBand(micro, action)
    ordered = tuple(sorted(bands.values(), key=lambda band: -band.action))
    if len(ordered) == 2 and ordered[0].at_micro <= ordered[1].at_micro:
        message = "the model band `alert` begins where `block` already holds, so it is never used"
        findings.error(section.key("model_bands"), message, "give `alert` the lower `at`")
    return ordered


def read_typologies(section: Section | None, findings: Findings) -> DeclaredTypologies:
    """Return the typologies."""
    if section is None:
        return DeclaredTypologies()
    typologies: list[Typology] = []
    places: dict[str, ScalarNode] = {}
    for key, node in section.table("typologies"):
        name = shapes.name(key, "the name of a typology", findings)
        inner = Section.open(node, TYPOLOGY, findings)
        if inner is None or not name:
            continue
        kind = inner.choice("combine", COMBINES, "max")
        alert = inner.integer("alert_at", 1, 100, 0) or None
        block = inner.integer("block_at", 1, 100, 0) or None
        if alert is not None and block is not None and alert >= block:
            message = f"`alert_at` ({alert}) is not below `block_at` ({block}), so it is never used"
            findings.error(inner.key("alert_at"), message, "lower it or remove it")
        places[name] = key
        typologies.append(Typology(name, cast("Literal['sum', 'max', 'noisy_or']", kind), alert, block))
    if len(typologies) > TYPOLOGIES_MAX:
        message = f"{len(typologies)} typologies, at most {TYPOLOGIES_MAX} are allowed"
        findings.error(section.key("typologies"), message)
    return DeclaredTypologies(tuple(typologies), places)
