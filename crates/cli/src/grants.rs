//! Grants given by flags.

use std::collections::{BTreeMap, BTreeSet};

use wharf_manifest::{FileGrant, Grants};

use crate::args::GrantFlags;
use crate::error::CliError;

impl GrantFlags {
    /// The grants that the flags give.
    pub(crate) fn grants(&self) -> Result<Grants, CliError> {
        let grants = Grants {
            http: self.http.clone(),
            net: self.net.clone(),
            files: self
                .dirs
                .iter()
                .map(|text| folder(text))
                .collect::<Result<_, _>>()?,
            env: self
                .env
                .iter()
                .map(|text| variable(text))
                .collect::<Result<BTreeMap<_, _>, _>>()?,
        };
        let mut guests = BTreeSet::new();
        for folder in &grants.files {
            if !guests.insert(&folder.guest) {
                return Err(CliError::new(format!(
                    "two folders are granted as `{}`",
                    folder.guest
                ))
                .hint("give one of them another place: `--dir HOST::GUEST`"));
            }
        }
        Ok(grants)
    }

    /// Adds the flags' grants to others. A folder takes the place of one that the guest would
    /// see under the same name.
    pub(crate) fn add_to(&self, grants: &mut Grants) -> Result<(), CliError> {
        let more = self.grants()?;
        grants.http.extend(more.http);
        grants.net.extend(more.net);
        let is_replaced = |known: &FileGrant| more.files.iter().any(|new| new.guest == known.guest);
        grants.files.retain(|known| !is_replaced(known));
        grants.files.extend(more.files);
        grants.env.extend(more.env);
        Ok(())
    }
}

/// `HOST[::GUEST][:ro|:rw]`. The guest's path is the host's unless said otherwise.
fn folder(text: &str) -> Result<FileGrant, CliError> {
    let (paths, write) = match text.strip_suffix(":ro") {
        Some(paths) => (paths, false),
        None => (text.strip_suffix(":rw").unwrap_or(text), true),
    };
    let (host, guest) = paths.split_once("::").unwrap_or((paths, paths));
    if guest == paths
        && let Some((host, guest)) = paths.rsplit_once(":/")
        && !std::path::Path::new(paths).exists()
    {
        return Err(
            CliError::new(format!("there is no folder `{paths}`")).hint(format!(
                "host and guest are parted by two colons: `--dir {host}::/{guest}`"
            )),
        );
    }
    if host.is_empty() || guest.is_empty() {
        return Err(CliError::new(format!("`--dir {text}` names no folder"))
            .hint("write it as `--dir HOST`, `--dir HOST::GUEST` or `--dir HOST::GUEST:ro`"));
    }
    // Taken from this shell's folder, whatever app the grant is for.
    let absolute = std::path::absolute(host)
        .map_err(|error| CliError::io("find", std::path::Path::new(host), &error))?;
    Ok(FileGrant {
        host: absolute.to_string_lossy().into_owned(),
        guest: guest.to_owned(),
        write,
    })
}

fn variable(text: &str) -> Result<(String, String), CliError> {
    if let Some((name, value)) = text.split_once('=') {
        if name.is_empty() {
            return Err(CliError::new(format!("`--env {text}` names no variable")));
        }
        return Ok((name.to_owned(), value.to_owned()));
    }
    match std::env::var(text) {
        Ok(value) => Ok((text.to_owned(), value)),
        Err(_) => Err(
            CliError::new(format!("`--env {text}`: this shell has no such variable"))
                .hint(format!("give it a value: `--env {text}=…`")),
        ),
    }
}
