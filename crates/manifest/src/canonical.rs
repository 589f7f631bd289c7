//! The canonical JSON of an app, as it stands in an artifact.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::app::{
    App, COMPONENT_COUNT_MAX, Component, FilesTarget, HttpTarget, ROUTE_COUNT_MAX, Triggers,
};
use crate::invalid::InvalidValue;
use crate::name::{AppName, ComponentName};
use crate::parse::value::{check_variable, parse_feature, parse_file, parse_header};

/// The version of the canonical form.
const VERSION: u64 = 1;

/// Largest canonical form that is read, in bytes.
const TEXT_LENGTH_MAX: usize = 4 << 20;

/// Why a canonical form could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanonicalError {
    /// Not the JSON of an app.
    #[error("the app's canonical form is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Written by a newer wharf, or by something else.
    #[error("the app's canonical form has version {found}, and this wharf knows {VERSION}")]
    Version {
        /// The version it names.
        found: u64,
    },
    /// Well formed, but against a rule of apps.
    #[error("the app's canonical form is invalid: {0}")]
    Invalid(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Canonical {
    manifest: u64,
    name: AppName,
    version: Version,
    description: Option<String>,
    components: BTreeMap<ComponentName, Component>,
    triggers: Triggers,
}

#[derive(Deserialize)]
struct VersionOnly {
    manifest: u64,
}

impl App {
    /// The app as JSON: every value spelled out, keys sorted, no white space, `"manifest":1`.
    ///
    /// Equal apps give equal text, so its digest names the app.
    pub fn to_canonical_json(&self) -> String {
        let canonical = Canonical {
            manifest: VERSION,
            name: self.name.clone(),
            version: self.version.clone(),
            description: self.description.clone(),
            components: self.components.clone(),
            triggers: self.triggers.clone(),
        };
        let mut value = serde_json::to_value(canonical)
            .expect("an app has only text keys and no floats, so it is always JSON");
        value.sort_all_objects();
        value.to_string()
    }

    /// The app of a text that [`App::to_canonical_json`] wrote.
    ///
    /// # Errors
    /// When the text is no JSON of an app, is of another version, or breaks a rule that
    /// [`parse_app`](crate::parse_app) checks.
    pub fn from_canonical_json(text: &str) -> Result<Self, CanonicalError> {
        if text.len() > TEXT_LENGTH_MAX {
            return Err(CanonicalError::Invalid(format!(
                "it has {} bytes; at most {TEXT_LENGTH_MAX} are read",
                text.len()
            )));
        }
        let VersionOnly { manifest } = serde_json::from_str(text)?;
        if manifest != VERSION {
            return Err(CanonicalError::Version { found: manifest });
        }
        let canonical: Canonical = serde_json::from_str(text)?;
        let app = Self {
            name: canonical.name,
            version: canonical.version,
            description: canonical.description,
            components: canonical.components,
            triggers: canonical.triggers,
        };
        check(&app).map_err(CanonicalError::Invalid)?;
        Ok(app)
    }
}

/// The rules that the types alone do not keep.
fn check(app: &App) -> Result<(), String> {
    if app.components.len() > COMPONENT_COUNT_MAX {
        return Err("too many components".to_owned());
    }
    if app.triggers.http.len() > ROUTE_COUNT_MAX {
        return Err("too many routes".to_owned());
    }
    let mut routes = BTreeSet::new();
    for trigger in &app.triggers.http {
        if !routes.insert(&trigger.route) {
            return Err(format!("the route `{}` is there twice", trigger.route));
        }
        match &trigger.target {
            HttpTarget::Component(name) => check_component(app, name)?,
            HttpTarget::Files(files) => check_files(files).map_err(|e| e.to_string())?,
        }
    }
    if let Some(command) = &app.triggers.command {
        check_component(app, &command.component)?;
    }
    for (name, component) in &app.components {
        if component.limits.has_zero() {
            return Err(format!("a limit of the component `{name}` is zero"));
        }
        check_texts(component).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn check_files(files: &FilesTarget) -> Result<(), InvalidValue> {
    files.fallback.as_deref().map(parse_file).transpose()?;
    files.cache.as_deref().map(parse_header).transpose()?;
    Ok(())
}

fn check_texts(component: &Component) -> Result<(), InvalidValue> {
    for feature in &component.build.features {
        parse_feature(feature)?;
    }
    for (name, text) in &component.grants.env {
        check_variable(name, text)?;
    }
    Ok(())
}

fn check_component(app: &App, name: &ComponentName) -> Result<(), String> {
    if app.components.contains_key(name) {
        Ok(())
    } else {
        Err(format!("there is no component `{name}`"))
    }
}
