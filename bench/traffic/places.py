"""Cities, currencies and merchant categories of the synthetic bank."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """A city: who lives there and who travels there."""

    name: str
    country: str
    currency: str
    lat: float
    lon: float
    residents: float
    """Weight as a home."""
    visitors: float
    """Weight as a destination."""


PLACES: tuple[Place, ...] = (
    Place("Shanghai", "CN", "CNY", 31.23, 121.47, 24, 20),
    Place("Beijing", "CN", "CNY", 39.90, 116.41, 21, 20),
    Place("Guangzhou", "CN", "CNY", 23.13, 113.26, 18, 12),
    Place("Shenzhen", "CN", "CNY", 22.54, 114.06, 17, 12),
    Place("Chengdu", "CN", "CNY", 30.57, 104.07, 16, 12),
    Place("Chongqing", "CN", "CNY", 29.56, 106.55, 14, 9),
    Place("Hangzhou", "CN", "CNY", 30.27, 120.16, 12, 11),
    Place("Wuhan", "CN", "CNY", 30.59, 114.31, 12, 7),
    Place("Xi'an", "CN", "CNY", 34.34, 108.94, 11, 9),
    Place("Suzhou", "CN", "CNY", 31.30, 120.58, 10, 6),
    Place("Nanjing", "CN", "CNY", 32.06, 118.80, 9, 6),
    Place("Tianjin", "CN", "CNY", 39.08, 117.20, 9, 4),
    Place("Changsha", "CN", "CNY", 28.23, 112.94, 8, 5),
    Place("Zhengzhou", "CN", "CNY", 34.75, 113.63, 8, 3),
    Place("Qingdao", "CN", "CNY", 36.07, 120.38, 7, 6),
    Place("Shenyang", "CN", "CNY", 41.81, 123.43, 6, 3),
    Place("Dalian", "CN", "CNY", 38.91, 121.61, 5, 4),
    Place("Harbin", "CN", "CNY", 45.80, 126.53, 5, 5),
    Place("Xiamen", "CN", "CNY", 24.48, 118.09, 5, 6),
    Place("Kunming", "CN", "CNY", 24.88, 102.83, 5, 7),
    Place("Nanning", "CN", "CNY", 22.82, 108.32, 4, 2),
    Place("Guiyang", "CN", "CNY", 26.65, 106.63, 4, 2),
    Place("Lanzhou", "CN", "CNY", 36.06, 103.83, 3, 2),
    Place("Urumqi", "CN", "CNY", 43.83, 87.62, 3, 2),
    Place("Haikou", "CN", "CNY", 20.04, 110.34, 3, 6),
    Place("Lhasa", "CN", "CNY", 29.65, 91.14, 1, 2),
    Place("Hong Kong", "HK", "HKD", 22.32, 114.17, 0, 9),
    Place("Macau", "MO", "HKD", 22.20, 113.54, 0, 4),
    Place("Tokyo", "JP", "JPY", 35.68, 139.69, 0, 5),
    Place("Seoul", "KR", "KRW", 37.57, 126.98, 0, 4),
    Place("Bangkok", "TH", "THB", 13.76, 100.50, 0, 5),
    Place("Singapore", "SG", "SGD", 1.35, 103.82, 0, 4),
    Place("Dubai", "AE", "AED", 25.20, 55.27, 0, 1),
    Place("London", "GB", "GBP", 51.51, -0.13, 0, 2),
    Place("Paris", "FR", "EUR", 48.86, 2.35, 0, 2),
    Place("Madrid", "ES", "EUR", 40.42, -3.70, 0, 1),
    Place("New York", "US", "USD", 40.71, -74.01, 0, 2),
    Place("Los Angeles", "US", "USD", 34.05, -118.24, 0, 2),
    Place("Sydney", "AU", "AUD", -33.87, 151.21, 0, 1),
    Place("Sao Paulo", "BR", "USD", -23.55, -46.63, 0, 0.3),
    Place("Lagos", "NG", "USD", 6.52, 3.38, 0, 0.2),
)


class Currency(NamedTuple):
    """A currency: decimals by ISO 4217 and yuan per unit."""

    code: str
    decimals: int
    cny: float


CURRENCIES: tuple[Currency, ...] = (
    Currency("CNY", 2, 1.0),
    Currency("HKD", 2, 0.9137),
    Currency("USD", 2, 7.1034),
    Currency("EUR", 2, 8.2271),
    Currency("GBP", 2, 9.4310),
    Currency("JPY", 0, 0.04612),
    Currency("KRW", 0, 0.004935),
    Currency("THB", 2, 0.2196),
    Currency("SGD", 2, 5.5120),
    Currency("AED", 2, 1.9341),
    Currency("AUD", 2, 4.6502),
)


class Category(NamedTuple):
    """A merchant category: how many shops, and what they charge."""

    mcc: str
    shops: float
    """Weight among shops with a counter."""
    online: float
    """Weight among online shops."""
    median: float
    """Median ticket in yuan."""
    sigma: float
    """Deviation of the logarithm of a ticket."""


CATEGORIES: tuple[Category, ...] = (
    Category("5411", 22, 6, 70, 0.8),
    Category("5812", 18, 3, 75, 0.7),
    Category("5814", 14, 5, 28, 0.5),
    Category("5541", 6, 0, 260, 0.4),
    Category("5912", 6, 4, 55, 0.8),
    Category("5311", 5, 6, 260, 0.8),
    Category("5651", 6, 10, 230, 0.7),
    Category("5732", 2, 6, 1200, 0.9),
    Category("4121", 3, 6, 24, 0.6),
    Category("4111", 5, 2, 4, 0.5),
    Category("7011", 3, 4, 480, 0.6),
    Category("4511", 0.3, 4, 900, 0.6),
    Category("5944", 1, 1, 2600, 0.9),
    Category("8062", 2, 0.5, 260, 1.0),
    Category("8220", 0.5, 1, 1800, 0.8),
    Category("5942", 2, 3, 55, 0.7),
    Category("5999", 6, 12, 90, 1.0),
    Category("5816", 0, 7, 28, 1.0),
    Category("5815", 0, 6, 14, 0.5),
    Category("7995", 0.1, 0.6, 200, 1.0),
    Category("6051", 0, 0.5, 1200, 1.0),
    Category("4829", 0.2, 0.5, 800, 0.9),
)

BANKS: tuple[str, ...] = ("ICBC", "CCB", "ABC", "BOC", "CMB", "BOCOM", "PSBC", "CIB", "SPDB", "CITIC")
"""Banks of counterparties elsewhere."""

OWN_BANK = "FSB"
"""This bank, as its own transfers name it."""
