"""Writes the rows of our own file again with pyarrow: from records, as a program has them, and from a table."""

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import timing


def measure(folder, seed, sheet):
    table = pq.read_table(folder / "vertebrae.parquet")
    records = table.to_pylist()
    schema = table.schema
    for name, by, work in [
        ("pyarrow_records", "pyarrow, records", lambda: write(pa.Table.from_pylist(records, schema))),
        ("pyarrow_table", "pyarrow, a table", lambda: write(table)),
    ]:
        written = sheet.measure(name, by, work)
        back = pq.read_table(pa.BufferReader(written))
        total = lambda column: pc.sum(column).as_py()
        sheet.number("rows", back.num_rows)
        sheet.number("seconds_in_model", total(back["reconstruct_ms"]))
        sheet.number("centre_x_mm", total(back["centre_x_mm"]))
        latent = pc.list_flatten(back["latent"])
        sheet.number("latent", total(latent.cast(pa.float64())))


def write(table):
    """Packs as ours are packed."""
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=3,
        row_group_size=10_000,
        write_page_index=True,
    )
    return sink.getvalue()


timing.main(timing.nothing_to_make, measure)
