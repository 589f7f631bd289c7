//! Files of the folder `/data`, opened and never closed.

use std::fs::File;
use std::time::Duration;

use wharf_sdk::{Body, Response, Result, time};

const FILE: &str = "/data/file";
/// What no handles are left for.
const MANY: u64 = 100_000;

/// Opens the file again and again until there are so many, or there is an error; tells how many
/// there are and the error, and holds them until the client leaves.
pub(crate) fn hold(enough: u64) -> Result<Response> {
    let mut open = Vec::new();
    let mut end = "enough".to_owned();
    while end == "enough" && (open.len() as u64) < up_to(enough) {
        match File::open(FILE) {
            Ok(file) => open.push(file),
            Err(error) => end = format!("{:?}", error.kind()),
        }
    }
    let first = format!("{} open, then {end}\n", open.len());
    Ok(held(first, open))
}

/// The same through WASI 0.3, for which std has nothing: files, and lists of the folder.
#[cfg(feature = "p3")]
pub(crate) mod p3 {
    use wasip3::filesystem::preopens::get_directories;
    use wasip3::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};
    use wasip3::wit_bindgen::block_on;

    use super::{Response, Result, held, up_to};

    pub(crate) fn hold(enough: u64) -> Result<Response> {
        let folders = get_directories();
        let Some((folder, _)) = folders.first() else {
            return Ok(held("no folder\n".to_owned(), folders));
        };
        let mut open = Vec::new();
        let mut end = "enough".to_owned();
        while end == "enough" && (open.len() as u64) < up_to(enough) {
            let (path, create) = (PathFlags::empty(), OpenFlags::empty());
            let file = folder.open_at(path, "file".to_owned(), create, DescriptorFlags::READ);
            // These bindings do not know the SDK's executor.
            match block_on(file) {
                Ok(file) => open.push(file),
                Err(error) => end = format!("{error:?}"),
            }
        }
        let first = format!("{} open, then {end}\n", open.len());
        Ok(held(first, (open, folders)))
    }

    pub(crate) fn hold_lists(enough: u64) -> Result<Response> {
        let folders = get_directories();
        let mut open = Vec::new();
        let mut end = "enough".to_owned();
        while end == "enough" && (open.len() as u64) < up_to(enough) {
            let Some((folder, _)) = folders.first() else {
                break;
            };
            let (mut entries, outcome) = folder.read_directory();
            match block_on(entries.next()) {
                Some(_) => open.push((entries, outcome)),
                None => end = format!("{:?}", block_on(outcome.into_future())),
            }
        }
        let first = format!("{} open, then {end}\n", open.len());
        Ok(held(first, (open, folders)))
    }
}

fn up_to(enough: u64) -> u64 {
    if enough == 0 { MANY } else { enough }
}

/// Answers `first` and then nothing, with `what` in hand.
fn held(first: String, what: impl Sized + 'static) -> Response {
    let (mut sender, body) = Body::channel();
    wharf_sdk::spawn(async move {
        // Whether or not somebody listens.
        let _ = sender.send(first).await;
        time::sleep(Duration::from_secs(3600)).await;
        drop(what);
    });
    Response::new(body)
}
