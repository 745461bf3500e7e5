"""Signatures of bundles: OpenSSL's command makes and checks what we check and make."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from support.worker_rules import write_rules

from fraudstream.rules.compiler.typologies import public_key
from fraudstream.stream.bundle_file import of_bundle, read_bundle, write_bundle
from fraudstream.stream.cli import main
from fraudstream.stream.directory import check_directory
from fraudstream.stream.errors import BadUse, Exit
from fraudstream.stream.signing import (
    Signature,
    agreed,
    load_private_key,
    message,
    public_text,
    raw_public,
    sign,
)

HASH = "sha256:" + "ab" * 32


def openssl(*arguments: str) -> bytes:
    """Run OpenSSL."""
    found = shutil.which("openssl")
    if found is None:
        pytest.skip("openssl is not installed: nothing independent to compare with")
    return subprocess.run([found, *arguments], check=True, capture_output=True).stdout


def make_key(path: Path) -> Path:
    """Make a key pair."""
    openssl("genpkey", "-algorithm", "ed25519", "-out", str(path))
    return path


def test_openssl_checks_our_signature_and_we_check_its(tmp_path: Path) -> None:
    """RFC 8032 as two programs read it."""
    pem = make_key(tmp_path / "ana.pem")
    key = load_private_key(pem)
    public = tmp_path / "ana.pub"
    public.write_bytes(openssl("pkey", "-in", str(pem), "-pubout"))
    assert public.read_text().splitlines()[1] == public_text(key)
    assert public_key(public_text(key)) == raw_public(key)
    text, ours, theirs = tmp_path / "message", tmp_path / "ours", tmp_path / "theirs"
    text.write_bytes(message(HASH))
    ours.write_bytes(sign(key, "ana", HASH).value)
    openssl(
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        str(public),
        "-rawin",
        "-in",
        str(text),
        "-sigfile",
        str(ours),
    )
    openssl("pkeyutl", "-sign", "-inkey", str(pem), "-rawin", "-in", str(text), "-out", str(theirs))
    assert agreed([Signature("x", theirs.read_bytes())], {"ana": raw_public(key)}, HASH) == ["ana"]


def test_one_person_is_one_signer_however_often_and_under_whatever_name(tmp_path: Path) -> None:
    """The key decides, not the name; another bundle, a flipped bit and noise are nobody's."""
    ana, bo = (load_private_key(make_key(tmp_path / f"{name}.pem")) for name in ("ana", "bo"))
    signers = {"ana": raw_public(ana), "bo": raw_public(bo)}
    good = sign(ana, "ana", HASH)
    assert agreed([good, good, sign(ana, "bo", HASH)], signers, HASH) == ["ana"]
    assert agreed([good, sign(bo, "anybody", HASH)], signers, HASH) == ["ana", "bo"]
    assert agreed([good], signers, HASH.replace("a", "b")) == []
    flipped = bytes([good.value[0] ^ 1]) + good.value[1:]
    assert (
        agreed([Signature("ana", flipped), Signature("bo", b""), Signature("bo", b"\0" * 64)], signers, HASH)
        == []
    )


def test_a_bundle_file_is_made_signed_and_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the commands; signing twice keeps one signature of each."""
    rules, path = write_rules(tmp_path / "rules"), tmp_path / "change.bundle"
    assert main(["rules", "bundle", str(rules), "--output", str(path), "--model", "none"]) == Exit.OK
    for name in ("ana", "bo", "ana"):
        pem = tmp_path / f"{name}.pem"
        if not pem.exists():
            make_key(pem)
        assert main(["rules", "sign", str(path), "--key", str(pem), "--signer", name]) == Exit.OK
    content = read_bundle(path)
    signers = {name: raw_public(load_private_key(tmp_path / f"{name}.pem")) for name in ("ana", "bo")}
    assert agreed(content.signatures, signers, content.hash) == ["ana", "bo"]
    assert len(content.signatures) == 2
    checked = check_directory(rules, None)
    assert checked.bundle is not None
    assert (content.hash, content.digest) == (checked.bundle.hash, checked.bundle.program.digest)
    assert content.hash in capsys.readouterr().out


def test_a_directory_whose_tests_fail_makes_no_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The test is named; nothing is written."""
    rules, path = write_rules(tmp_path / "rules", 200), tmp_path / "change.bundle"
    assert main(["rules", "bundle", str(rules), "--output", str(path), "--model", "none"]) == Exit.FINDINGS
    assert "test `fires` of `account.many` failed" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.parametrize("damage", ["archive", "hash", "format", "truncated", "json", "signature"])
def test_a_damaged_bundle_file_is_refused(tmp_path: Path, damage: str) -> None:
    """Whoever edits a bundle by hand is told."""
    checked = check_directory(write_rules(tmp_path / "rules"), None)
    assert checked.bundle is not None
    path = tmp_path / "b"
    write_bundle(path, of_bundle(checked.bundle))
    text = path.read_text()
    value = base64.b64encode(b"x").decode()
    path.write_text(
        {
            "archive": text.replace("count_1h >= 4", "count_1h >= 5"),
            "hash": text.replace('"hash": "sha256:', '"hash": "sha256:0'),
            "format": text.replace("bundle/1", "bundle/2"),
            "truncated": text[: len(text) // 2],
            "json": "[]",
            "signature": text.replace(
                '"signatures": []', f'"signatures": [{{"signer": 1, "value": "{value}!"}}]'
            ),
        }[damage]
    )
    with pytest.raises(BadUse):
        read_bundle(path)


def test_keys_of_other_kinds_are_refused(tmp_path: Path) -> None:
    """With the command that makes the right one."""
    pem = tmp_path / "rsa.pem"
    openssl("genpkey", "-algorithm", "RSA", "-out", str(pem))
    with pytest.raises(BadUse, match="genpkey -algorithm ed25519"):
        load_private_key(pem)
    (tmp_path / "noise").write_text("x")
    with pytest.raises(BadUse, match="cannot be used as a private key"):
        load_private_key(tmp_path / "noise")
