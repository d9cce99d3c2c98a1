"""The queries, with one SQL file per engine each, and rules for comparing their results."""

from dataclasses import dataclass
from pathlib import Path

QUERIES = Path(__file__).resolve().parent.parent / "queries"

# Values for the placeholders in the SQL; these fit the demo's corpus.
VALUES = {
    "region": "eu-west",
    "method": "POST",
    "route": "/checkout",
    "text": "could not serialize access",
}


@dataclass(frozen=True)
class Query:
    """A query.

    `name`        name of its SQL files
    `order`       column by which the rows are ordered, and True if the largest comes first
    `cut`         it has a LIMIT: rows that tie with the last one may differ
    `ids`         it runs for many trace ids, "stored" or "absent" ones
    `quantile`    its columns are group, quantile, count: approximations are allowed
    `attributes`  it selects all columns: attributes are a map in one engine and columns in another
    """

    name: str
    title: str
    order: tuple[int, bool]
    cut: bool = False
    ids: str = ""
    quantile: bool = False
    attributes: bool = False

    def sql(self, engine: str, values: dict[str, str]) -> str:
        dialect = "broadloom" if engine == "before" else engine
        statement = (QUERIES / dialect / f"{self.name}.sql").read_text().strip()
        for name, value in values.items():
            statement = statement.replace("{" + name + "}", value.replace("'", "''"))
        return statement


UP, DOWN = False, True

ALL = [
    Query("trace_by_id", "a trace by id, all columns", (0, UP), ids="stored", attributes=True),
    Query("trace_waterfall", "a trace by id, 8 columns", (0, UP), ids="stored"),
    Query("trace_absent", "a trace id that does not exist", (0, UP), ids="absent"),
    Query("p99_by_os_version", "p99 by os.version of a route in a region", (1, DOWN), quantile=True),
    Query("count_by_minute", "events by minute", (0, UP)),
    Query("error_rate_by_service", "error rate by service", (1, DOWN)),
    Query("top_users_by_p99", "the 20 users with the worst p99", (1, DOWN), cut=True, quantile=True),
    Query("exemplars_by_minute", "the slowest trace of each minute", (0, UP)),
    Query("distinct_users_by_region", "distinct users by region, exact", (0, UP)),
    Query("log_search", "logs that contain a text", (0, UP), cut=True),
    Query("service_graph", "who calls whom: self-join of spans", (2, DOWN)),
    Query("heat_map", "heat map of durations by minute", (0, UP)),
    Query("newest", "the newest 100 events", (0, DOWN), cut=True),
    Query("slowest", "the slowest 100 spans", (6, DOWN), cut=True),
    Query("facet_errors", "errors by service", (1, DOWN)),
]
