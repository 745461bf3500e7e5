"""Inputs of the handbook's systems, over ``models/handbook/features.yaml``."""

from __future__ import annotations

from fraudstream.models.inputs import Input

INPUTS = (
    Input("txn.amount"),
    Input("txn.amount", "ratio", "account.honest_mean_60d"),
    Input("txn.amount", "ratio", "account.honest_max_60d"),
    Input("account.spent_max_3d", "ratio", "account.honest_mean_60d"),
    Input("account.spent_max_7d", "ratio", "account.honest_mean_60d"),
    Input("account.spent_max_14d", "ratio", "account.honest_mean_60d"),
    Input("account.spent_std_14d", "ratio", "account.honest_std_60d"),
    Input("account.spent_mean_7d", "ratio", "account.honest_mean_60d"),
    Input("account.spent_mean_1d", "ratio", "account.honest_mean_60d"),
    Input("account.honest_std_60d", "ratio", "account.honest_mean_60d"),
    Input("account.spent_count_1d"),
    Input("account.spent_count_7d"),
    Input("account.frauds_28d"),
    Input("merchant.seen_count_7d"),
    Input("merchant.labels_7d"),
    Input("merchant.frauds_1d"),
    Input("merchant.frauds_7d"),
    Input("merchant.frauds_28d"),
    Input("merchant.normal_frauds_7d"),
    Input("merchant.normal_frauds_28d"),
    Input("merchant.normal_frauds_7d", "ratio", "merchant.labels_7d"),
    Input("merchant.fraud_known_for", "log1p"),
    Input("merchant.fraud_known_for", "present"),
    Input("merchant.since_fraud", "log1p"),
    Input("merchant.since_honest", "log1p"),
    Input("merchant.since_fraud", "ratio", "merchant.since_honest"),
    Input("merchant.last_outcome", "flag", "fraud"),
)
