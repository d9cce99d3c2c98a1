"""Asks a server with clients of PostgreSQL.

    postgres.py scripts HOST PORT URL FOLDER    every statement of FOLDER/*.slt, compared with URL/v1/sql
    postgres.py psycopg|asyncpg|sqlalchemy|adbc|catalogue HOST PORT

Prints what was checked as one JSON object, and exits with 1 at the first difference. The events are those of
`tests/slt/data`.
"""

import asyncio
import base64
import datetime
import decimal
import json
import pathlib
import re
import sys
import threading
import urllib.error
import urllib.request

import psycopg


def connect(host, port, **options):
    return psycopg.connect(host=host, port=port, user="test", dbname="broadloom", autocommit=True, **options)


# ---- scripts ---------------------------------------------------------------------------------------------------------


def statements(path):
    """The statements of a script of sqllogictest: everything after `query …` or `statement …`."""
    lines = path.read_text().splitlines()
    at = 0
    while at < len(lines):
        head = lines[at]
        at += 1
        if not head.startswith(("query", "statement")):
            continue
        sql = []
        while at < len(lines) and lines[at].strip() and lines[at] != "----":
            sql.append(lines[at])
            at += 1
        yield "\n".join(sql)


def over_http(url, sql, weighted):
    """Rows, or the message of the error."""
    request = urllib.request.Request(f"{url}/v1/sql?weighted={weighted}", data=sql.encode(), headers={"Content-Type": "text/plain"})
    try:
        with urllib.request.urlopen(request) as answer:
            # Numbers with a point stay texts, so that no digit is lost.
            rows = json.loads(answer.read(), parse_float=Fraction)
    except urllib.error.HTTPError as error:
        return None, json.loads(error.read())["detail"]
    return [tuple(row.values()) for row in rows], None


class Fraction(str):
    """A number with a point, as it was written."""


def same(mine, theirs):
    """True if a value of psycopg is the value of /v1/sql."""
    if mine is None:
        return theirs is None
    if isinstance(mine, bool) or isinstance(theirs, bool):
        return mine is theirs
    if isinstance(mine, float):
        return theirs is None if mine != mine or mine in (float("inf"), float("-inf")) else float(theirs) == mine
    if isinstance(mine, (int, decimal.Decimal)):
        return decimal.Decimal(theirs) == mine
    if isinstance(mine, datetime.datetime):
        theirs = theirs if mine.tzinfo else theirs.removesuffix("Z")
        whole, point, rest = theirs.partition(".")
        digits = rest[:6] if point else ""
        zone = rest.lstrip("0123456789") if point else ""
        return datetime.datetime.fromisoformat(f"{whole}.{digits}{zone}" if point else theirs) == mine
    if isinstance(mine, datetime.date):
        return mine.isoformat() == theirs
    if isinstance(mine, (datetime.timedelta, datetime.time)):
        return isinstance(theirs, str)
    if isinstance(mine, bytes):
        return base64.b64decode(theirs) == mine
    if isinstance(mine, list):
        return isinstance(theirs, list) and len(mine) == len(theirs) and all(map(same, mine, theirs))
    if isinstance(mine, dict):
        return list(mine) == list(theirs) and all(same(mine[key], theirs[key]) for key in mine)
    return mine == theirs


def over_postgres(connection, sql, how):
    binary = how == "binary"
    try:
        with connection.cursor(binary=binary) as cursor:
            # Without parameters psycopg uses the simple protocol for text, and the extended one for `prepare`.
            cursor.execute(sql, prepare=how == "prepared")
            return cursor.fetchall(), None
    except psycopg.Error as error:
        return None, error.diag.message_primary


def scripts(host, port, url, folder):
    checked = {"simple": 0, "prepared": 0, "binary": 0}
    with connect(host, port, prepare_threshold=None) as connection:
        for path in sorted(pathlib.Path(folder).glob("*.slt")):
            for sql in statements(path):
                # Attributes are columns there, which over HTTP they are not.
                if "information_schema.columns" in sql:
                    continue
                # A setting is of the text there, and of the session here.
                setting = re.match(r"set weighted = (on|off); ", sql, re.IGNORECASE)
                if sql.lower().startswith("set ") and not setting:
                    continue
                sql, weighted = (sql[setting.end():], setting[1]) if setting else (sql, "off")
                connection.execute(f"SET weighted = {weighted}")
                wanted, problem = over_http(url, sql, weighted)
                # The simple protocol takes several statements.
                if problem and problem.startswith("one statement at a time"):
                    continue
                for how in checked:
                    rows, failure = over_postgres(connection, sql, how)
                    if problem is not None or failure is not None:
                        assert problem == failure, f"{path.name} {how}: {sql}\n{problem}\n{failure}"
                    else:
                        ordered = (rows, wanted) if "order by" in sql.lower() or len(rows) < 2 else sort(rows, wanted)
                        assert len(rows) == len(wanted), f"{path.name} {how}: {sql}\n{wanted}\n{rows}"
                        for row, want in zip(*ordered):
                            is_same = len(row) == len(want) and all(map(same, row, want))
                            assert is_same, f"{path.name} {how}: {sql}\n{want}\n{row}"
                    checked[how] += 1
    return checked


def sort(*tables):
    return [sorted(table, key=lambda row: [plain(value) for value in row]) for table in tables]


def plain(value):
    """A text by which rows of both sides sort alike."""
    if isinstance(value, (float, decimal.Decimal, Fraction)):
        return f"{float(value):.6e}"
    if isinstance(value, (dict, list)):
        return ""
    if isinstance(value, datetime.datetime):
        return value.isoformat()[:19]
    if isinstance(value, str) and value[4:5] == "-" and value[10:11] == "T":
        return value[:19]
    return str(value)


# ---- psycopg ---------------------------------------------------------------------------------------------------------


def use_psycopg(host, port):
    with connect(host, port) as connection:
        assert connection.info.server_version == 160006, connection.info.server_version
        assert connection.info.encoding == "utf-8"
        parameters(connection)
        failures(connection)
        transactions(connection)
        cursors(connection)
        copies(connection)
        limits(connection)
    return {"psycopg": psycopg.__version__}


def parameters(connection):
    sql = "select name from spans where http.response.status_code = %s and duration_ns > %s order by timestamp"
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        assert cursor.execute(sql, (500, 1000)).fetchall() == [("POST /checkout",)]
        row = cursor.execute(
            "select %s + 1, %s::text, %s::boolean, %s, %s::timestamp with time zone, %s::date",
            (
                41,
                "ü'",
                True,
                2.5,
                datetime.datetime(2026, 1, 5, 10, tzinfo=datetime.timezone.utc),
                datetime.date(2026, 1, 5),
            ),
        ).fetchone()
        at = datetime.datetime(2026, 1, 5, 10, tzinfo=datetime.timezone.utc)
        assert row == (42, "ü'", True, 2.5, at, datetime.date(2026, 1, 5)), row
        assert cursor.execute("select %s", (None,)).fetchone() == (None,)
        at = datetime.datetime(2026, 1, 5, 10, 0, 1, tzinfo=datetime.timezone.utc)
        assert cursor.execute("select name from spans where timestamp = %s", (at,)).fetchall() == [("GET /cart",)]
        trace = "4BF92F3577B34DA6A3CE929D0E0E4736"
        found = cursor.execute("select count(*) from spans where trace_id = %s", (trace,)).fetchone()
        assert found == (3,), found
    # The same statement several times is prepared by name.
    for limit in range(1, 12):
        rows = connection.execute("select name from spans order by name limit %s", (limit,), prepare=True).fetchall()
        assert len(rows) <= limit


def failures(connection):
    for sql, code, place in [
        ("select nme from spans", "42703", 8),
        ("select\n  1,\n  ü.x from spanz", "42P01", None),
        ("selec 1", "42601", 1),
        ("select nosuch(1)", "42883", 8),
        ("insert into spans values (1)", "25006", None),
        ("select 1/0", "22012", None),
        ("copy spans from stdin", "0A000", None),
    ]:
        try:
            connection.execute(sql)
            raise AssertionError(f"{sql} works")
        except psycopg.Error as error:
            assert error.sqlstate == code, (sql, error.sqlstate, str(error))
            if place:
                assert error.diag.statement_position == str(place), (sql, error.diag.statement_position)


def transactions(connection):
    status = psycopg.pq.TransactionStatus
    with connection.transaction():
        assert connection.info.transaction_status == status.INTRANS
        connection.execute("select 1")
        try:
            with connection.transaction():
                connection.execute("select nme from spans")
        except psycopg.Error:
            pass
        assert connection.execute("select 1").fetchone() == (1,)
    assert connection.info.transaction_status == status.IDLE
    connection.execute("begin")
    try:
        connection.execute("select 1/0")
    except psycopg.Error:
        pass
    assert connection.info.transaction_status == status.INERROR
    try:
        connection.execute("select 1")
        raise AssertionError("a failed transaction goes on")
    except psycopg.errors.InFailedSqlTransaction:
        pass
    connection.execute("rollback")
    assert connection.info.transaction_status == status.IDLE


def cursors(connection):
    numbers = "select value from generate_series(1, 20000)"
    with connection.transaction(), connection.cursor(name="some") as cursor:
        cursor.itersize = 700
        cursor.execute(numbers)
        assert [row[0] for row in cursor] == list(range(1, 20001))
    with connection.transaction(), connection.cursor(name="few") as cursor:
        cursor.execute(numbers)
        assert cursor.fetchmany(3) == [(1,), (2,), (3,)]


def copies(connection):
    with connection.cursor() as cursor:
        with cursor.copy("copy (select name, duration_ns from spans order by timestamp, name) to stdout") as copy:
            rows = list(copy.rows())
        assert rows[0] == ("POST /checkout", "250000000"), rows
        with cursor.copy("copy (select name, duration_ns from spans order by timestamp, name) to stdout (format binary)") as copy:
            copy.set_types(["text", "int8"])
            assert list(copy.rows())[0] == ("POST /checkout", 250000000)
        with cursor.copy("copy (select name from spans order by name limit 1) to stdout csv header") as copy:
            assert b"".join(copy) == b"name\nGET /cart\n"
        try:
            with cursor.copy("copy (select nme from spans) to stdout") as copy:
                list(copy)
            raise AssertionError("a wrong copy works")
        except psycopg.Error as error:
            assert error.sqlstate == "42703" and error.diag.statement_position == "14", error.diag.statement_position
        assert cursor.execute("select 1").fetchone() == (1,)


SLOW = "select max(value) from generate_series(1, 1000000000000)"


def limits(connection):
    connection.execute("set statement_timeout = '300ms'")
    try:
        connection.execute(SLOW)
        raise AssertionError("a statement has no timeout")
    except psycopg.errors.QueryCanceled:
        pass
    connection.execute("reset statement_timeout")
    threading.Timer(0.3, connection.cancel).start()
    try:
        connection.execute(SLOW)
        raise AssertionError("a statement is not cancelled")
    except psycopg.errors.QueryCanceled as error:
        assert "user request" in str(error), error
    assert connection.execute("select 1").fetchone() == (1,)


# ---- asyncpg ---------------------------------------------------------------------------------------------------------


async def use_asyncpg(host, port):
    import asyncpg

    connection = await asyncpg.connect(host=host, port=port, user="test", database="broadloom")
    sql = "select name, duration_ns, timestamp, trace_id, attributes from spans where duration_ns > $1 order by timestamp limit 1"
    row = await connection.fetchrow(sql, 1000)
    at = datetime.datetime(2026, 1, 5, 10, tzinfo=datetime.timezone.utc)
    assert (row["name"], row["duration_ns"], row["timestamp"]) == ("POST /checkout", 250_000_000, at), row
    assert json.loads(row["attributes"])["http.route"] == "/checkout"
    lists = await connection.fetchval("select histogram.bounds from metrics where histogram.bounds is not null limit 1")
    assert lists is None or all(isinstance(bound, float) for bound in lists), lists
    numbers = await connection.fetchrow("select cast(1.25 as decimal(10, 2)) as d, cast(1 as bigint unsigned) as u")
    assert tuple(numbers) == (decimal.Decimal("1.25"), decimal.Decimal(1)), numbers
    async with connection.transaction():
        rows = [r["value"] async for r in connection.cursor("select value from generate_series(1, 1000)", prefetch=17)]
    assert rows == list(range(1, 1001))
    try:
        await connection.fetch("select nme from spans")
        raise AssertionError("a wrong statement works")
    except asyncpg.UndefinedColumnError:
        pass
    try:
        await asyncio.wait_for(connection.fetch(SLOW), 0.3)
        raise AssertionError("a statement is not cancelled")
    except asyncio.TimeoutError:
        pass
    assert await connection.fetchval("select 1") == 1
    pieces = []

    async def take(piece):
        pieces.append(bytes(piece))

    await connection.copy_from_query("select name from spans order by name limit 1", output=take)
    assert b"".join(pieces) == b"GET /cart\n", pieces
    await connection.reset()
    await connection.close()
    return {"asyncpg": asyncpg.__version__}


# ---- others ----------------------------------------------------------------------------------------------------------


def use_sqlalchemy(host, port):
    import sqlalchemy
    from sqlalchemy import create_engine, inspect, text

    engine = create_engine(f"postgresql+psycopg://test@{host}:{port}/broadloom")
    with engine.connect() as connection:
        rows = connection.execute(text("select name from spans where duration_ns > :least order by timestamp"), {"least": 1000})
        assert rows.first() == ("POST /checkout",)
    found = inspect(engine)
    assert "public" in found.get_schema_names(), found.get_schema_names()
    assert found.get_table_names() == ["events"], found.get_table_names()
    assert "spans" in found.get_view_names(), found.get_view_names()
    columns = {column["name"]: str(column["type"]) for column in found.get_columns("spans")}
    assert columns["duration_ns"] == "BIGINT", columns
    assert columns["timestamp"] == "TIMESTAMP", columns
    assert columns["http.route"] == "TEXT", columns
    assert found.get_pk_constraint("events")["constrained_columns"] == []
    assert found.get_foreign_keys("events") == [] and found.get_indexes("events") == []
    metadata = sqlalchemy.MetaData()
    spans = sqlalchemy.Table("spans", metadata, autoload_with=engine)
    with engine.connect() as connection:
        count = sqlalchemy.select(sqlalchemy.func.count()).select_from(spans).where(spans.c["http.route"] == "/checkout")
        assert connection.execute(count).scalar() > 0
    return {"sqlalchemy": sqlalchemy.__version__, "columns": len(columns)}


def use_adbc(host, port):
    import adbc_driver_postgresql
    import adbc_driver_postgresql.dbapi

    with adbc_driver_postgresql.dbapi.connect(f"postgresql://test@{host}:{port}/broadloom") as connection:
        with connection.cursor() as cursor:
            cursor.execute("select name, duration_ns, timestamp, http.route from spans order by timestamp, name")
            table = cursor.fetch_arrow_table()
            assert table.column_names == ["name", "duration_ns", "timestamp", "http.route"], table.column_names
            assert table["name"][0].as_py() == "POST /checkout" and table["duration_ns"][0].as_py() == 250_000_000
            cursor.execute("select name from spans where duration_ns > $1 order by timestamp", (1000,))
            assert cursor.fetchone() == ("POST /checkout",)
        tables = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
        names = [t["table_name"] for c in tables for s in c["catalog_db_schemas"] or [] for t in s["db_schema_tables"] or []]
        assert "events" in names, names
    return {"adbc": adbc_driver_postgresql.__version__}


def use_catalogue(host, port):
    """Runs the statements of `postgres_catalogue.sql`, which tools ask when a person looks around."""
    path = pathlib.Path(__file__).with_name("postgres_catalogue.sql")
    checked = 0
    with connect(host, port) as connection:
        for block in path.read_text().split("\n\n"):
            comments = [line for line in block.splitlines() if line.startswith("--")]
            sql = "\n".join(line for line in block.splitlines() if not line.startswith("--"))
            if not sql.strip():
                continue
            try:
                rows = connection.execute(sql).fetchall()
            except psycopg.Error as error:
                raise AssertionError(f"{comments}: {error}\n{sql}") from error
            wanted = [int(line.split()[-2]) for line in comments if line.endswith("rows")]
            assert not wanted or len(rows) >= wanted[0], f"{comments}: {rows}"
            checked += 1
    return {"statements": checked}


def main(what, host, port, *more):
    if what == "asyncpg":
        return asyncio.run(use_asyncpg(host, port))
    uses = {
        "scripts": scripts,
        "psycopg": use_psycopg,
        "sqlalchemy": use_sqlalchemy,
        "adbc": use_adbc,
        "catalogue": use_catalogue,
    }
    return uses[what](host, port, *more)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])))
