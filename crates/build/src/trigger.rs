//! Whether components export what their triggers call.

use std::collections::BTreeMap;

use wharf_artifact::{Description, Kind, Role};
use wharf_manifest::{App, ComponentName, HttpTarget};

use crate::error::BuildError;

/// Checks every trigger of `app` against the component it runs.
pub(crate) fn check(
    app: &App,
    described: &BTreeMap<ComponentName, Description>,
) -> Result<(), BuildError> {
    for trigger in &app.triggers.http {
        let HttpTarget::Component(name) = &trigger.target else {
            continue;
        };
        let Some(description) = described.get(name) else {
            continue;
        };
        if description.http.is_none() {
            let hint = match description.role {
                Role::Command => format!(
                    "run it with `wharf run`, or let [trigger.command] name `{name}` instead"
                ),
                _ => {
                    "write a handler with `#[wharf_sdk::http]`, or see `wharf new http-rust`".into()
                }
            };
            return Err(BuildError::ExportMissing {
                component: name.to_string(),
                trigger: format!("the route `{}`", trigger.route),
                wanted: "wasi:http/handler (WASI 0.3) or wasi:http/incoming-handler (0.2)",
                found: found(description),
                hint,
            });
        }
    }
    if let Some(command) = &app.triggers.command
        && let Some(description) = described.get(&command.component)
        && !description.command
    {
        let hint = match description.role {
            Role::HttpHandler => format!(
                "serve it: replace [trigger.command] by [[trigger.http]] with component = \"{}\"",
                command.component
            ),
            _ => "give the crate a src/main.rs, or see `wharf new cli-rust`".into(),
        };
        return Err(BuildError::ExportMissing {
            component: command.component.to_string(),
            trigger: "[trigger.command]".into(),
            wanted: "wasi:cli/run, or `_start` in a WASI 0.1 module",
            found: found(description),
            hint,
        });
    }
    Ok(())
}

/// What it exports, in words.
fn found(description: &Description) -> String {
    const SHOWN_MAX: usize = 4;
    let kind = match description.kind {
        Kind::Component => "is a component that",
        Kind::Module => "is a core module that",
    };
    let names: Vec<String> = (description.exports.iter())
        .take(SHOWN_MAX)
        .map(|export| format!("`{}`", export.name))
        .collect();
    if names.is_empty() {
        return format!("{kind} exports nothing");
    }
    let more = description.exports.len().saturating_sub(SHOWN_MAX);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{kind} exports {}{more}", names.join(", "))
}
