"""Event schemas for tests: the shipped one's content, and another bank's field names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fraudstream.rules.bundle import Field, Schema, Type

EVENT_TYPES = (
    "payment",
    "card_auth",
    "login",
    "password_reset",
    "device_added",
    "payee_added",
    "profile_change",
    "outcome",
    "reversal",
    "label",
    "step_up",
)
KINDS = (
    "transfer",
    "instant",
    "bill",
    "purchase",
    "cash_deposit",
    "cash_withdrawal",
    "salary",
    "refund",
    "fee",
)
AUTH_METHODS = ("none", "password", "otp_sms", "otp_app", "push", "biometric", "token", "pin")
IP_KINDS = ("residential", "mobile", "business", "hosting", "vpn", "tor")
MONEY_EVENTS = ("payment", "card_auth")


def make_schema(
    fields: Sequence[tuple[str, Type, dict[str, Any]]],
    base_currency: str = "CNY",
    partition_key: str = "account.id",
) -> Schema:
    """Build a schema; columns are assigned in order by the width of each type."""
    made: list[Field] = []
    column = 0
    for name, kind, options in fields:
        made.append(Field(name=name, type=kind, column=column, **options))
        column += kind.width
    return Schema(base_currency, partition_key, tuple(made), column)


def default_schema() -> Schema:
    """Return the schema of the shipped pack."""
    money = {"currency": "txn.currency"}
    ids = {"from_integer": True}
    return make_schema(
        [
            ("event.id", Type.ID, {"path": ("transaction_id",), "required": True, "max_chars": 64}),
            ("event.type", Type.ENUM, {"path": ("event_type",), "values": EVENT_TYPES, "default": "payment"}),
            ("event.time", Type.TIME, {"path": ("event_time",), "required": True}),
            (
                "account.id",
                Type.ID,
                {"path": ("account_id",), "required": True, "personal": "personal", **ids},
            ),
            ("account.opened", Type.DATE, {"path": ("account_opened",)}),
            ("account.segment", Type.CATEGORY, {"path": ("segment",)}),
            ("account.last_active", Type.DATE, {"path": ("last_active",)}),
            ("customer.id", Type.ID, {"path": ("customer_id",), "personal": "personal", **ids}),
            ("customer.birth_date", Type.DATE, {"path": ("birth_date",), "personal": "personal"}),
            ("customer.country", Type.COUNTRY, {"path": ("customer_country",), "default": "CN"}),
            ("card.id", Type.ID, {"path": ("card_id",), "personal": "personal", **ids}),
            ("card.bin", Type.CATEGORY, {"path": ("card_bin",), **ids}),
            ("device.id", Type.ID, {"path": ("device_id",), "personal": "personal", **ids}),
            ("branch.id", Type.ID, {"path": ("branch_id",), **ids}),
            ("terminal.id", Type.ID, {"path": ("terminal_id",), **ids}),
            ("merchant.id", Type.ID, {"path": ("merchant_id",), **ids}),
            ("merchant.mcc", Type.CATEGORY, {"path": ("mcc",), **ids}),
            ("counterparty.id", Type.ID, {"path": ("counterparty_id",), "personal": "personal", **ids}),
            ("counterparty.bank", Type.CATEGORY, {"path": ("counterparty_bank",), **ids}),
            ("counterparty.iban", Type.ID, {"path": ("counterparty_iban",), "personal": "personal"}),
            ("counterparty.name", Type.CATEGORY, {"path": ("counterparty_name",), "personal": "personal"}),
            ("counterparty.country", Type.COUNTRY, {"path": ("counterparty_country",)}),
            ("counterparty.added_at", Type.TIME, {"path": ("counterparty_added_at",)}),
            ("counterparty.trusted", Type.BOOL, {"path": ("counterparty_trusted",)}),
            ("auth.method", Type.ENUM, {"path": ("auth_method",), "values": AUTH_METHODS}),
            ("auth.sim_swap_at", Type.TIME, {"path": ("sim_swap_at",)}),
            (
                "profile.changed",
                Type.ENUM,
                {"path": ("profile_changed",), "values": ("email", "phone", "address", "name", "other")},
            ),
            ("txn.amount", Type.MONEY, {"path": ("amount",), "required_for": MONEY_EVENTS, **money}),
            ("txn.amount_original", Type.MONEY, {"path": ("amount",), "convert": False, **money}),
            ("txn.currency", Type.CATEGORY, {"path": ("currency",), "required_for": MONEY_EVENTS}),
            ("txn.direction", Type.ENUM, {"path": ("direction",), "values": ("in", "out")}),
            ("txn.kind", Type.ENUM, {"path": ("kind",), "values": KINDS}),
            (
                "txn.channel",
                Type.ENUM,
                {"path": ("channel",), "values": ("mobile", "web", "atm", "pos", "branch", "api")},
            ),
            (
                "txn.funding",
                Type.ENUM,
                {"path": ("funding",), "values": ("account", "cash", "card", "loan")},
            ),
            ("txn.ip", Type.ID, {"path": ("ip",), "personal": "personal"}),
            ("txn.ip_kind", Type.ENUM, {"path": ("ip_kind",), "values": IP_KINDS}),
            ("txn.country", Type.COUNTRY, {"path": ("country",)}),
            ("txn.city", Type.CATEGORY, {"path": ("city",)}),
            ("txn.geo", Type.GEO, {"path": ("lat",), "path2": ("lon",), "personal": "personal"}),
            ("txn.balance_before", Type.MONEY, {"path": ("balance_before",), "signed": True, **money}),
            (
                "txn.status",
                Type.ENUM,
                {"path": ("status",), "values": ("approved", "declined", "reversed")},
            ),
            ("txn.original_id", Type.ID, {"path": ("original_id",), **ids}),
            ("txn.transfer_id", Type.ID, {"path": ("transfer_id",), **ids}),
        ]
    )


def handbook_schema() -> Schema:
    """Return the schema of a bank that names things as the fraud-detection handbook does, all in euros."""
    ids = {"from_integer": True, "required": True}
    money = {"currency": "txn.currency"}
    return make_schema(
        [
            ("event.id", Type.ID, {"path": ("tx_id",), "max_chars": 64, **ids}),
            ("event.type", Type.ENUM, {"const": "payment", "values": EVENT_TYPES}),
            ("event.time", Type.TIME, {"path": ("tx_datetime",), "required": True}),
            ("account.id", Type.ID, {"path": ("customer_id",), "personal": "personal", **ids}),
            ("merchant.id", Type.ID, {"path": ("terminal_id",), **ids}),
            ("txn.amount", Type.MONEY, {"path": ("amount",), "required": True, **money}),
            ("txn.currency", Type.CATEGORY, {"const": "EUR"}),
        ],
        base_currency="EUR",
    )


def nested_schema() -> Schema:
    """Return a schema with every type, objects inside objects and defaults, for the wire's tests."""
    return make_schema(
        [
            ("event.id", Type.ID, {"path": ("head", "id"), "required": True}),
            (
                "event.type",
                Type.ENUM,
                {"path": ("head", "type"), "values": EVENT_TYPES, "default": "payment"},
            ),
            ("event.time", Type.TIME, {"path": ("head", "sent", "at"), "required": True}),
            ("account.id", Type.ID, {"path": ("from", "account"), "required": True, "from_integer": True}),
            ("txn.amount", Type.MONEY, {"path": ("money", "value"), "currency": "txn.currency"}),
            ("txn.currency", Type.CATEGORY, {"path": ("money", "currency"), "default": "CNY"}),
            ("txn.rate", Type.NUMBER, {"path": ("rate",), "default": "1.5"}),
            ("txn.attempts", Type.INTEGER, {"path": ("attempts",)}),
            ("txn.took", Type.DURATION, {"path": ("took_ms",)}),
            ("txn.present", Type.BOOL, {"path": ("present",), "default": "false"}),
            ("txn.due", Type.DATE, {"path": ("due",)}),
            ("txn.country", Type.COUNTRY, {"path": ("from", "country")}),
            ("txn.geo", Type.GEO, {"path": ("at", "lat"), "path2": ("at", "lon")}),
            ("txn.tag", Type.CATEGORY, {"path": ("tag",), "from_integer": True}),
        ]
    )


def odd_schema() -> Schema:
    """Return a schema of what is rare: defaults of every type, long and foreign names, integers as enums."""
    return make_schema(
        [
            (
                "event.id",
                Type.ID,
                {"path": ("a_name_of_seventeen", "id"), "from_integer": True, "default": "none"},
            ),
            (
                "event.type",
                Type.ENUM,
                {
                    "path": ("typ",),
                    "values": (*EVENT_TYPES, "1", "-7", "größe"),
                    "from_integer": True,
                    "default": "1",
                },
            ),
            ("event.time", Type.TIME, {"path": ("zeit",), "default": "1795488011123"}),
            (
                "account.id",
                Type.ID,
                {
                    "path": ("konto_nummer_des_kunden_in_der_bank",),
                    "required_for": ("1", "login"),
                    "from_integer": True,
                },
            ),
            (
                "a.money",
                Type.MONEY,
                {"path": ("größe",), "currency": "a.currency", "default": "1.250", "signed": True},
            ),
            (
                "a.twin",
                Type.MONEY,
                {"path": ("größe",), "currency": "a.currency", "convert": False, "signed": True},
            ),
            (
                "a.currency",
                Type.ENUM,
                {"path": ("währung",), "values": ("EUR", "JPY", "KWD", "CLF"), "default": "KWD"},
            ),
            ("a.text", Type.CATEGORY, {"path": ("währung",), "default": 'a "quote" \\ é'}),
            ("a.copy", Type.CATEGORY, {"path": ("währung",), "from_integer": True}),
            (
                "a.geo",
                Type.GEO,
                {"path": ("lat",), "path2": ("deep", "er", "lon"), "required_for": ("login",)},
            ),
            ("a.date", Type.DATE, {"path": ("deep", "date"), "default": "2000-02-29"}),
            ("a.flag", Type.BOOL, {"path": ("deep", "er", "flag"), "default": "true"}),
            ("a.number", Type.NUMBER, {"path": ("n",), "default": "-2.5e-3"}),
            ("a.integer", Type.INTEGER, {"path": ("i",), "default": "-12"}),
            ("a.country", Type.COUNTRY, {"path": ("c",), "default": "DE"}),
            ("a.fixed", Type.NUMBER, {"const": "1e3"}),
            ("a.word", Type.CATEGORY, {"const": "fixed"}),
        ]
    )
