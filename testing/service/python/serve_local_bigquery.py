"""Serves local-bigquery, an emulator of BigQuery, and closes three of its gaps (as of 0.3.2).

- It answers 200 to a tables.patch with new fields inside a RECORD, and ignores them. BigQuery adds them.
- It guesses the types of a load job's rows, and drops unknown fields inside RECORDs. BigQuery takes the types
  from the table, and refuses such rows. The guesses change values: a STRING that looks like a date becomes
  one, and is written as another text.
- Of two simultaneous requests for one new job, table or dataset, one gets a 400 about a constraint or a
  commit, or both get a 200. BigQuery answers 409 to one of them.

The archive depends on all three: each stat is a field of the RECORD `counter` or `gauge`, and only the ids of
jobs keep two simultaneous runs from loading a slot twice.
"""

import functools
import json
import threading

import uvicorn.config
from local_bigquery import cli
from local_bigquery.catalog import datasets, tables
from local_bigquery.engine import database, types
from local_bigquery.engine.database import quote
from local_bigquery.errors import BigQueryError
from local_bigquery.jobs import load, runner

_alter_columns = tables._alter


def _alter(project_id, dataset_id, table_id, fields):
    """Alters what the emulator alters, and RECORDs too."""
    current = tables.columns(project_id, dataset_id, table_id)
    added = list(_added_inside(current, fields, []))
    _alter_columns(project_id, dataset_id, table_id, fields)
    _add(tables.name(project_id, dataset_id, table_id), added)


def _by_name(fields):
    """The fields by name, whose case does not matter."""
    return {field.name.casefold(): field for field in fields or []}


def _added_inside(current, given, path):
    """The new fields inside RECORDs, each with the path of its RECORD."""
    current, given = _by_name(current), _by_name(given)
    if path and (removed := [field.name for key, field in current.items() if key not in given]):
        raise BigQueryError(
            "invalid",
            f"Provided Schema does not match. Cannot remove field: {'.'.join([*path, removed[0]])}",
        )
    for key, field in given.items():
        existing = current.get(key)
        if existing and existing.type == "RECORD":
            inside = list(_added_inside(existing.fields, field.fields, [*path, existing.name]))
            if inside and existing.mode == "REPEATED":
                raise BigQueryError("notImplemented", f"Adding fields to the REPEATED {existing.name}")
            yield from inside
        elif path and not existing:
            yield path, field


def _add(table, added):
    """Adds all fields or none, as BigQuery does."""
    with database.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            for path, field in added:
                column = f"{quote(*path, field.name)} {types.duckdb_type(field)}"
                cursor.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
            cursor.execute("COMMIT")
        except Exception:
            cursor.execute("ROLLBACK")
            raise


def _load(cursor, config, upload):
    """Loads rows by the table's schema if the job has none."""
    table = tables.reference(config.destinationTable)
    guessed = upload and not config.schema_ and not config.autodetect
    if guessed and config.sourceFormat == "NEWLINE_DELIMITED_JSON" and tables.exists(*table):
        fields = tables.columns(*table)
        _fit_file(upload, fields, bool(config.ignoreUnknownValues))
        config = config.replace(schema={"fields": [field.dump() for field in fields]})
    return load.run(cursor, config, upload)


def _fit_file(path, fields, ignore_unknown):
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if line.strip()]
    with open(path, "w", encoding="utf-8") as file:
        for number, line in enumerate(lines, 1):
            try:
                row = _fit(json.loads(line), fields, [], ignore_unknown)
            except ValueError as error:
                raise BigQueryError(
                    "invalid", f"Error while reading data, error message: row {number}: {error}"
                ) from None
            file.write(json.dumps(row) + "\n")


def _fit(row, fields, path, ignore_unknown):
    """The row, with the names spelled as in the schema."""
    if not isinstance(row, dict):
        raise ValueError(f"{'.'.join(path) or 'it'} is not an object")
    known, fitted = _by_name(fields), {}
    for name, value in row.items():
        field = known.get(name.casefold())
        if field is None:
            if not ignore_unknown:
                raise ValueError(f"no such field: {'.'.join([*path, name])}")
            continue
        if field.type == "RECORD" and field.mode != "REPEATED" and value is not None:
            value = _fit(value, field.fields, [*path, field.name], ignore_unknown)
        fitted[field.name] = value
    return fitted


def _in_turn(function):
    """The function, one call at a time: what it has checked still holds when it writes."""
    lock = threading.RLock()

    @functools.wraps(function)
    def in_turn(*arguments, **named):
        with lock:
            return function(*arguments, **named)

    return in_turn


datasets.create = _in_turn(datasets.create)
tables.create = _in_turn(tables.create)
tables.update = _in_turn(tables.update)
tables._alter = _alter
runner.submit = _in_turn(runner.submit)
runner.HANDLERS["load"] = _load

if __name__ == "__main__":
    # Only warnings and errors, not a line for each request.
    for logger in uvicorn.config.LOGGING_CONFIG["loggers"].values():
        if "level" in logger:
            logger["level"] = "WARNING"
    cli.main()
