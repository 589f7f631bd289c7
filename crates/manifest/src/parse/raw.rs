//! The tables of `wharf.toml`, key by key. The JSON Schema is drawn from these declarations.

use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;
use toml::de::DeValue;

use crate::app::COMPONENT_COUNT_MAX;
use crate::duration::format_duration;
use crate::error::Problems;
use crate::grant::{FileGrant, HttpGrant, NetGrant};
use crate::invalid::InvalidValue;
use crate::limits::Limits;
use crate::name::{AppName, ComponentName};
use crate::parse::table::{At, table};
use crate::parse::value::{
    Environment, FeatureName, FilePath, FormatVersion, FromToml, HeaderText, IsolationWord,
    LimitCount, LimitDuration, SourcePath, Version, wrong_type,
};
use crate::path::AppPath;
use crate::route::RoutePattern;
use crate::size::ByteSize;

const LIMITS: Limits = Limits::DEFAULT;

table! {
    /// A wharf app: its components, what makes them run, and what they ask for.
    AppTable in "the manifest" {
        /// The version of this format.
        manifest: FormatVersion, required "manifest = 1";
        /// The app's name.
        name: AppName, required "name = \"my-app\"";
        /// The app's version.
        version: Version, required "version = \"0.1.0\"";
        /// One line on what the app does.
        description: String;
        /// The app's components by name.
        component: ComponentTables;
        /// What makes the components run.
        trigger: TriggerTable;
    }
    later ["model"]
}

table! {
    /// One component: what it is built from, what it asks for, what it may use up.
    ComponentTable in "the component" {
        /// A folder, whose language is detected, or a `.wasm` or `.wat` file.
        source: SourcePath, required "source = \"FOLDER\"";
        /// Build without the WASI imports of the language's standard library.
        pure: bool, default false;
        /// Make the component smaller with wasm-opt where it is found.
        optimize: bool, default true;
        /// Cargo features to switch on.
        features: Vec<FeatureName>, default json!([]);
        /// Folders and files besides the source whose change asks for a rebuild.
        watch: Vec<AppPath>, default json!([]);
        /// Which requests share an instance of a WASI 0.3 component: many (`shared`), or none
        /// (`request`).
        isolation: IsolationWord, default "shared";
        /// Let a WASI 0.2 instance serve one request after another instead of one alone.
        reuse: bool, default false;
        /// What the component asks for; without it, nothing.
        grants: GrantsTable;
        /// What the component may use up.
        limits: LimitsTable;
    }
    elsewhere [
        LimitsTable => "it is a limit: write it in `limits = { … }`",
        GrantsTable => "it is a grant: write it under `[component.NAME.grants]`",
    ]
}

table! {
    /// Everything a component asks for. What is not here, it has not.
    GrantsTable in "the grants" {
        /// Servers it may send HTTP requests to.
        http: Vec<HttpGrant>, default json!([]);
        /// Addresses it may open sockets to.
        net: Vec<NetGrant>, default json!([]);
        /// Folders of the app that it sees.
        files: Vec<FileGrant>, default json!([]);
        /// Environment variables that it sees.
        env: Environment, default json!({});
    }
    later ["keyvalue", "sql", "models", "config", "secrets", "blobs", "queues"]
}

table! {
    /// What a component may use up.
    LimitsTable in "the limits" {
        /// All memories and tables of one instance.
        memory: ByteSize, default LIMITS.memory;
        /// From the arrival of a request to the head of its response.
        time: LimitDuration, default format_duration(LIMITS.time);
        /// Time of computing per instance, waiting not counted.
        cpu: LimitDuration, default format_duration(LIMITS.cpu);
        /// How long a guest, or a client all in all, may pause in a body.
        body_idle: LimitDuration, default format_duration(LIMITS.body_idle);
        /// Requests in work at once, per component.
        concurrency: LimitCount, default LIMITS.concurrency;
        /// Requests waiting for their turn, per component; those beyond get a 503.
        queue: LimitCount, default LIMITS.queue;
        /// Resource handles open at once, per instance.
        handles: LimitCount, default LIMITS.handles;
        /// Outgoing requests and sockets open at once, per instance.
        outgoing: LimitCount, default LIMITS.outgoing;
        /// All bytes of one response body; without it, no limit.
        response: ByteSize;
        /// Bytes of stdout and stderr together that are kept per request.
        log: ByteSize, default LIMITS.log;
    }
}

table! {
    /// What makes the components run.
    TriggerTable in "`trigger`" {
        /// HTTP routes. Of those that match, the longest wins, an exact one before a prefix.
        http: Vec<At<HttpTable>>, default json!([]);
        /// What `wharf run` starts.
        command: CommandTable;
    }
    later ["cron", "queue"]
}

table! {
    /// A route, and the component or folder of files that answers it.
    HttpTable in "the route" {
        /// Which paths: `/exact`, or `/prefix/...` for a path and all below it.
        route: RoutePattern, required "route = \"/...\"";
        /// The component that answers.
        component: ComponentName;
        /// The folder whose files answer.
        files: AppPath;
        /// With `files`: the file sent with status 200 for an unknown path that a browser
        /// navigates to.
        fallback: FilePath;
        /// With `files`: the Cache-Control value of all the files.
        cache: HeaderText;
    }
}

table! {
    /// The component that runs as a command.
    CommandTable in "the command" {
        /// The component.
        component: ComponentName, required "component = \"NAME\"";
    }
}

/// The tables `[component.NAME]`, in the order of their names.
#[derive(Debug)]
pub(crate) struct ComponentTables {
    pub(crate) tables: Vec<(At<ComponentName>, ComponentTable)>,
    /// Names that are there, among them of components that could not be read.
    pub(crate) names: Vec<String>,
}

impl FromToml for ComponentTables {
    const EXPECTED: &'static str = "tables `[component.NAME]`";

    fn read(value: &DeValue<'_>, span: Range<usize>, problems: &mut Problems<'_>) -> Option<Self> {
        let DeValue::Table(table) = value else {
            let wrong = wrong_type::<Self>(value);
            problems.report(
                span,
                match value {
                    DeValue::Array(_) => {
                        wrong.with_hint("write `[component.NAME]` in single brackets")
                    }
                    _ => wrong,
                },
            );
            return None;
        };
        if table.len() > COMPONENT_COUNT_MAX {
            problems.report(
                span,
                InvalidValue::new(format!(
                    "the app has {} components; at most {COMPONENT_COUNT_MAX} are allowed",
                    table.len()
                )),
            );
            return None;
        }
        let mut read = Self {
            tables: Vec::new(),
            names: Vec::new(),
        };
        for (key, value) in table.iter() {
            read.names.push(key.get_ref().to_string());
            let name = ComponentName::new(key.get_ref().as_ref())
                .map_err(|invalid| problems.report(key.span(), invalid));
            let span = if value.span().is_empty() {
                key.span()
            } else {
                value.span()
            };
            let component = ComponentTable::read(value.get_ref(), span, problems);
            if let (Ok(value), Some(component)) = (name, component) {
                let span = key.span();
                read.tables.push((At { value, span }, component));
            }
        }
        Some(read)
    }
}

impl JsonSchema for ComponentTables {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ComponentTables".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": COMPONENT_COUNT_MAX,
            "propertyNames": generator.subschema_for::<ComponentName>(),
            "additionalProperties": generator.subschema_for::<ComponentTable>()
        })
    }
}
