"""The questions: one file of SQL per engine each, and how their answers are compared."""

from dataclasses import dataclass
from pathlib import Path

QUERIES = Path(__file__).resolve().parent.parent / "queries"

# The values that the placeholders of the SQL stand for; those of the demo's corpus.
VALUES = {
    "region": "eu-west",
    "method": "POST",
    "route": "/checkout",
    "text": "could not serialize access",
}


@dataclass(frozen=True)
class Query:
    name: str
    """Of the files."""
    title: str
    ids: str = ""
    """Asked for many trace ids, `stored` or `absent` ones."""
    order: int | None = None
    """Column by which a LIMIT cuts: rows that are level with the last one may differ."""
    quantile: int | None = None
    """Column with a quantile: it may be 2 % beyond the two values between which the exact one lies."""
    attributes: bool = False
    """All columns: attributes are a map in one engine and columns in others."""

    def sql(self, engine: str, values: dict[str, str]) -> str:
        folder = "clickhouse-map" if engine == "clickhouse-map" else engine
        statement = (QUERIES / folder / f"{self.name}.sql").read_text().strip()
        for name, value in values.items():
            statement = statement.replace("{" + name + "}", value.replace("'", "''"))
        return statement


ALL = [
    Query("trace_by_id", "a trace by id, all columns", ids="stored", attributes=True),
    Query("trace_waterfall", "a trace by id, 8 columns", ids="stored"),
    Query("trace_absent", "a trace id that does not exist", ids="absent"),
    Query("p99_by_os_version", "p99 by os.version of a route in a region", quantile=1),
    Query("count_by_minute", "events by minute"),
    Query("error_rate_by_service", "error rate by service"),
    Query("top_users_by_p99", "the 20 users with the worst p99", quantile=1),
    Query("exemplars_by_minute", "slowest root span's trace, by minute"),
    Query("distinct_users_by_region", "distinct users by region, exact"),
    Query("log_search", "logs that contain a text"),
    Query("service_graph", "who calls whom: self-join of spans"),
    Query("heat_map", "heat map of durations by minute"),
    Query("newest", "the newest 100 events", order=0),
    Query("slowest", "the slowest 100 spans", order=6),
    Query("facet_errors", "errors by service"),
]
