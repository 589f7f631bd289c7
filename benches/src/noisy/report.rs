//! Outcomes as a table in Markdown.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Outcome;

/// What p99 may be above that of an idle server, in milliseconds.
const P99_ABOVE_IDLE_MS: f64 = 10.0;

pub(super) fn table(outcomes: &[Outcome]) -> String {
    let mut table = String::from(
        "| route | WASI | server | neighbour | right 200s | p50 ms | p99 ms | idle p99 ms | peak MiB | alive after | CPU after | met |\n\
         |---|---|---|---|---:|---:|---:|---:|---:|---:|---:|---|\n",
    );
    for outcome in outcomes {
        for neighbour in &outcome.neighbours {
            let (idle, noisy) = (&neighbour.idle, &neighbour.noisy);
            let share = 100.0 * noisy.right as f64 / noisy.asked.max(1) as f64;
            let met = noisy.right == noisy.asked
                && noisy.p99_ms <= idle.p99_ms + P99_ABOVE_IDLE_MS
                && outcome.alive_after_ms.is_some();
            let alive = match outcome.alive_after_ms {
                Some(ms) => format!("{ms:.0} ms"),
                None if outcome.lives => "no".to_owned(),
                None => "killed".to_owned(),
            };
            let ceiling = if outcome.memory_ceiling {
                " of 2048"
            } else {
                ""
            };
            let _ = writeln!(
                table,
                "| /{} | {} | {} | {} | {share:.1}% | {:.1} | {:.1} | {:.1} | {}{ceiling} | {alive} | {:.0}% | {} |",
                outcome.route,
                outcome.wasi,
                outcome.server,
                neighbour.who,
                noisy.p50_ms,
                noisy.p99_ms,
                idle.p99_ms,
                outcome.rss_peak_bytes >> 20,
                outcome.cpu_after_percent,
                if met { "yes" } else { "no" },
            );
        }
    }
    let _ = writeln!(
        table,
        "\nWhat hostile clients were answered, and what was logged:\n"
    );
    for outcome in outcomes {
        let Outcome {
            route,
            wasi,
            server,
            answered,
            errors,
            ..
        } = outcome;
        let _ = writeln!(
            table,
            "- /{route}, {wasi}, {server}: {}; {}",
            listed(answered, "no answer"),
            listed(errors, "nothing logged"),
        );
    }
    let _ = writeln!(
        table,
        "\nA latency counts from when the request was due; no answer within 5 s counts as 5,000 ms. \
         Met: every answer right, p99 at most {P99_ABOVE_IDLE_MS} ms above idle, and alive within a \
         second after the hostile clients left. `wasmtime serve` serves one component, so it has \
         no other to be a neighbour."
    );
    table
}

fn listed(counts: &BTreeMap<String, usize>, nothing: &str) -> String {
    if counts.is_empty() {
        return nothing.to_owned();
    }
    let each = counts
        .iter()
        .map(|(what, count)| format!("{count} x \"{what}\""));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::load::Seen;
    use crate::noisy::NeighbourOutcome;

    fn outcome(p99_ms: f64, alive_after_ms: Option<f64>) -> Outcome {
        let seen = |p99_ms| Seen {
            asked: 10,
            right: 10,
            p99_ms,
            ..Seen::default()
        };
        Outcome {
            route: "spin",
            wasi: "0.2",
            server: "wharf",
            hostile_clients: 4,
            memory_ceiling: false,
            neighbours: vec![NeighbourOutcome {
                who: "same component",
                idle: seen(1.0),
                noisy: seen(p99_ms),
            }],
            rss_peak_bytes: 64 << 20,
            lives: true,
            alive_after_ms,
            cpu_after_percent: 0.0,
            answered: BTreeMap::new(),
            errors: BTreeMap::new(),
        }
    }

    #[test]
    fn a_row_says_whether_the_aim_is_met() {
        for (p99, alive, met) in [
            (10.9, Some(1.0), "yes"),
            (11.1, Some(1.0), "no"),
            (2.0, None, "no"),
        ] {
            let table = table(&[outcome(p99, alive)]);
            let row = table.lines().nth(2).unwrap();
            assert!(row.ends_with(&format!("| {met} |")), "{row}");
        }
    }
}
