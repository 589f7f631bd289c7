//! From the tables as written to an [`App`]: defaults, and rules over several keys.

use std::collections::{BTreeMap, BTreeSet};

use crate::app::{
    App, BuildOptions, CommandTrigger, Component, FilesTarget, HttpTarget, HttpTrigger,
    ROUTE_COUNT_MAX, Triggers,
};
use crate::error::Problems;
use crate::grant::{FileGrant, Grants};
use crate::invalid::{InvalidValue, quote};
use crate::limits::Limits;
use crate::name::ComponentName;
use crate::parse::raw::{
    AppTable, CommandTable, ComponentTable, GrantsTable, HttpTable, LimitsTable, TriggerTable,
};
use crate::parse::suggest::did_you_mean;
use crate::parse::table::{At, Field};
use crate::route::RoutePattern;

/// Names of components, as written, that a hint lists at most.
const LISTED_NAMES_MAX: usize = 8;

/// The app of `table`; what is wrong or missing besides was reported, then any app may come back.
pub(crate) fn lower(table: AppTable, problems: &mut Problems<'_>) -> Option<App> {
    let has_wrong_components = matches!(table.component, Field::Wrong);
    let (tables, names) = match table.component.good() {
        Some(component) => (component.tables, component.names),
        None => (Vec::new(), Vec::new()),
    };
    let mut components = BTreeMap::new();
    for (name, component) in tables {
        if let Some(component) = lower_component(component, problems) {
            components.insert(name.value, component);
        }
    }
    let has_trigger = !table.trigger.is_absent();
    let known = (!has_wrong_components).then_some(names.as_slice());
    let triggers = match table.trigger.good() {
        Some(trigger) => lower_triggers(trigger, known, problems),
        None => Triggers::default(),
    };
    if names.is_empty() && !has_wrong_components && !has_trigger {
        problems.report(
            0..0,
            InvalidValue::new("the app has no component and no route")
                .with_hint("add a table `[component.NAME]` with `source = \"FOLDER\"`"),
        );
    }
    Some(App {
        name: table.name.good()?,
        version: table.version.good()?.0,
        description: table.description.good(),
        components,
        triggers,
    })
}

fn lower_component(table: ComponentTable, problems: &mut Problems<'_>) -> Option<Component> {
    let defaults = BuildOptions::default();
    let build = BuildOptions {
        pure: table.pure.good().unwrap_or(defaults.pure),
        optimize: table.optimize.good().unwrap_or(defaults.optimize),
        features: table.features.good().map_or(defaults.features, |features| {
            features.into_iter().map(|feature| feature.0).collect()
        }),
        watch: table.watch.good().unwrap_or(defaults.watch),
    };
    let grants = match table.grants.good() {
        Some(grants) => lower_grants(grants, problems),
        None => Grants::default(),
    };
    Some(Component {
        source: table.source.good()?.0,
        build,
        grants,
        limits: table.limits.good().map(lower_limits).unwrap_or_default(),
        isolation: table
            .isolation
            .good()
            .map(|word| word.0)
            .unwrap_or_default(),
        reuse: table.reuse.good().unwrap_or(false),
    })
}

fn lower_grants(table: GrantsTable, problems: &mut Problems<'_>) -> Grants {
    if let Some(files) = table.files.given() {
        report_double_guest_paths(files, problems);
    }
    Grants {
        http: table.http.good().unwrap_or_default(),
        net: table.net.good().unwrap_or_default(),
        files: table.files.good().unwrap_or_default(),
        env: table.env.good().map(|env| env.0).unwrap_or_default(),
    }
}

fn report_double_guest_paths(files: &At<Vec<FileGrant>>, problems: &mut Problems<'_>) {
    let mut seen = BTreeSet::new();
    for grant in &files.value {
        if !seen.insert(grant.guest.as_str()) {
            problems.report(
                files.span.clone(),
                InvalidValue::new(format!(
                    "two folders have the guest's path {}",
                    quote(&grant.guest)
                )),
            );
        }
    }
}

fn lower_limits(table: LimitsTable) -> Limits {
    let defaults = Limits::DEFAULT;
    Limits {
        memory: table.memory.good().unwrap_or(defaults.memory),
        time: table.time.good().map_or(defaults.time, |time| time.0),
        cpu: table.cpu.good().map_or(defaults.cpu, |cpu| cpu.0),
        body_idle: table
            .body_idle
            .good()
            .map_or(defaults.body_idle, |idle| idle.0),
        concurrency: table
            .concurrency
            .good()
            .map_or(defaults.concurrency, |count| count.0),
        queue: table.queue.good().map_or(defaults.queue, |count| count.0),
        handles: table
            .handles
            .good()
            .map_or(defaults.handles, |count| count.0),
        outgoing: table
            .outgoing
            .good()
            .map_or(defaults.outgoing, |count| count.0),
        response: table.response.good().or(defaults.response),
        log: table.log.good().unwrap_or(defaults.log),
    }
}

/// `known` are the names of components; none where they could not be read.
fn lower_triggers(
    table: TriggerTable,
    known: Option<&[String]>,
    problems: &mut Problems<'_>,
) -> Triggers {
    let command = table
        .command
        .good()
        .and_then(|command| lower_command(command, known, problems));
    let http = match table.http {
        Field::Given(routes) if routes.value.len() > ROUTE_COUNT_MAX => {
            problems.report(
                routes.span,
                InvalidValue::new(format!(
                    "the app has {} routes; at most {ROUTE_COUNT_MAX} are allowed",
                    routes.value.len()
                )),
            );
            Vec::new()
        }
        Field::Given(routes) => {
            report_double_routes(&routes.value, problems);
            routes
                .value
                .into_iter()
                .filter_map(|route| lower_route(route, known, problems))
                .collect()
        }
        Field::Absent | Field::Wrong => Vec::new(),
    };
    Triggers { http, command }
}

fn lower_command(
    table: CommandTable,
    known: Option<&[String]>,
    problems: &mut Problems<'_>,
) -> Option<CommandTrigger> {
    report_unknown_component(table.component.given(), known, problems);
    Some(CommandTrigger {
        component: table.component.good()?,
    })
}

fn report_double_routes(tables: &[At<HttpTable>], problems: &mut Problems<'_>) {
    let mut first_lines: BTreeMap<&RoutePattern, usize> = BTreeMap::new();
    for route in tables.iter().filter_map(|table| table.value.route.given()) {
        let line = problems.line_of(route.span.start);
        match first_lines.get(&route.value) {
            None => {
                first_lines.insert(&route.value, line);
            }
            Some(first) => {
                let shown = route.value.to_string();
                problems.report(
                    route.span.clone(),
                    InvalidValue::new(format!("the route {} is there twice", quote(&shown)))
                        .with_hint(format!("it is first on line {first}")),
                );
            }
        }
    }
}

fn report_unknown_component(
    name: Option<&At<ComponentName>>,
    known: Option<&[String]>,
    problems: &mut Problems<'_>,
) {
    let (Some(name), Some(known)) = (name, known) else {
        return;
    };
    let text = name.value.as_str();
    if known.iter().any(|known| known == text) {
        return;
    }
    let known = || known.iter().map(String::as_str);
    let hint = did_you_mean(text, known()).unwrap_or_else(|| {
        let listed: Vec<String> = known().take(LISTED_NAMES_MAX).map(quote).collect();
        if listed.is_empty() {
            format!("add a table `[component.{text}]`")
        } else {
            format!(
                "add a table `[component.{text}]`, or name one of {}",
                listed.join(", ")
            )
        }
    });
    problems.report(
        name.span.clone(),
        InvalidValue::new(format!("there is no component {}", quote(text))).with_hint(hint),
    );
}

fn lower_route(
    At { value: table, span }: At<HttpTable>,
    known: Option<&[String]>,
    problems: &mut Problems<'_>,
) -> Option<HttpTrigger> {
    report_unknown_component(table.component.given(), known, problems);
    let target = match (table.component, table.files) {
        (Field::Absent, Field::Absent) => {
            problems.report(
                span,
                InvalidValue::new("the route has neither `component` nor `files`")
                    .with_hint("add `component = \"NAME\"` or `files = \"FOLDER\"`"),
            );
            None
        }
        (component, Field::Absent) => {
            report_files_only("fallback", &table.fallback, problems);
            report_files_only("cache", &table.cache, problems);
            component.good().map(HttpTarget::Component)
        }
        (Field::Absent, files) => files.good().map(|dir| {
            HttpTarget::Files(FilesTarget {
                dir,
                fallback: table.fallback.good().map(|fallback| fallback.0),
                cache: table.cache.good().map(|cache| cache.0),
            })
        }),
        (_, files) => {
            problems.report(
                files.given().map_or(span, |files| files.span.clone()),
                InvalidValue::new("the route has both `component` and `files`")
                    .with_hint("give each a route of its own"),
            );
            None
        }
    };
    Some(HttpTrigger {
        route: table.route.good()?,
        target: target?,
    })
}

fn report_files_only<T>(key: &str, field: &Field<T>, problems: &mut Problems<'_>) {
    if let Some(given) = field.given() {
        problems.report(
            given.span.clone(),
            InvalidValue::new(format!("`{key}` goes with `files` only")),
        );
    }
}
