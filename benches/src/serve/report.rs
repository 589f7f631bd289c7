//! The table of what was measured.

use std::fmt::Write as _;

use super::{Figures, Row};
use crate::figures;

fn median(row: &Row, of: fn(&Figures) -> f64) -> f64 {
    figures::median(row.turns.iter().map(of))
}

/// Rows of one kind and number of connections stand together, with the ratio of what wharf takes
/// of the processor to what that row takes.
pub(super) fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| kind | connections | server | requests/s | CPU µs/request | p50 µs | p99 µs | peak MiB | CPU, wharf to it |\n\
         |---|---:|---|---:|---:|---:|---:|---:|---:|\n",
    );
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| (row.connections, row.kind));
    for row in &rows {
        let own = rows.iter().find(|own| {
            (own.kind, own.connections, own.server) == (row.kind, row.connections, "wharf")
        });
        let cpu = median(row, |figures| figures.cpu_us);
        let ratio = own
            .filter(|own| own.server != row.server)
            .map(|own| format!("{:.2}", median(own, |figures| figures.cpu_us) / cpu));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {:.0} | {cpu:.1} | {:.0} | {:.0} | {:.0} | {} |",
            row.kind.name(),
            row.connections,
            row.server,
            median(row, |figures| figures.per_second),
            median(row, |figures| figures.p50_us),
            median(row, |figures| figures.p99_us),
            median(row, |figures| figures.rss_peak_mib),
            ratio.unwrap_or_default(),
        );
    }
    out.push_str(
        "\nMedians of the turns. Processor time is the server's own, user and system. The load comes from\n\
         the same machine, one request under way on each connection.\n",
    );
    out
}
