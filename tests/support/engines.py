"""Runs a printed statement in a query engine, then a query, and prints its rows as JSON, one a line.

usage: engines.py duckdb|clickhouse STATEMENTS QUERY WORK
"""

import json
import pathlib
import sys

engine, statements, query, work = sys.argv[1:]

if engine == "duckdb":
    import duckdb
    from duckdb_extensions import import_extension

    # What INSTALL would fetch is there already, so that nothing asks a network.
    con = duckdb.connect(config={"extension_directory": work, "threads": 2})
    for name in ("httpfs", "aws"):
        import_extension(name, con=con)
    con.execute(statements)
    for row in con.execute(query).fetchall():
        print(json.dumps([str(value) if value is not None else None for value in row]))
else:
    from chdb import session

    con = session.Session(str(pathlib.Path(work) / "clickhouse"))
    con.query(statements)
    for row in str(con.query(query, "JSONCompactStringsEachRow")).splitlines():
        print(json.dumps(json.loads(row)))
