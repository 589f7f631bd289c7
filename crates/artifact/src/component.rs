//! A single component as the CNCF's Wasm OCI artifact, which other tools can pull and run.
//!
//! Source: TAG Runtime, "Wasm OCI Artifact layout"
//! (<https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>): one layer
//! `application/wasm`, and a config that names its imports and exports.

use serde::Serialize;
use wharf_manifest::Digest;

use crate::app::{ArtifactError, store_manifest};
use crate::describe::{Description, Kind};
use crate::oci::{Descriptor, MANIFEST_TYPE, Manifest, WASM_TYPE};
use crate::store::{Blob, Store};

/// The media type of a Wasm artifact's config.
pub const WASM_CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";

/// The config. Its time is the first of Unix: the field is required by readers in the field, and
/// the same component must give the same digest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    layer_digests: [String; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<Edge<'a>>,
}

#[derive(Serialize)]
struct Edge<'a> {
    exports: Vec<&'a str>,
    imports: Vec<&'a str>,
}

/// What packing a component gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedComponent {
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its code.
    pub component: Blob,
}

/// Packs one component or core module and names it `reference`. `description` is what
/// [`describe`](crate::describe()) says of these bytes.
///
/// # Errors
/// What the store reports.
pub fn pack_component(
    store: &Store,
    bytes: &[u8],
    description: &Description,
    reference: &str,
) -> Result<PackedComponent, ArtifactError> {
    let layer = store.put_bytes(bytes)?;
    let size = bytes.len() as u64;
    let is_component = description.kind == Kind::Component;
    let config = Config {
        created: "1970-01-01T00:00:00Z",
        architecture: "wasm",
        // The layout knows two systems: this one stands for every component.
        os: if is_component { "wasip2" } else { "wasip1" },
        layer_digests: [layer.to_string()],
        component: is_component.then(|| Edge {
            exports: description
                .exports
                .iter()
                .map(|item| item.name.as_str())
                .collect(),
            imports: description
                .imports
                .iter()
                .map(|item| item.name.as_str())
                .collect(),
        }),
    };
    let config = serde_json::to_vec(&config).expect("maps with text keys are JSON");
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE.to_owned(),
        artifact_type: None,
        config: Descriptor::new(
            WASM_CONFIG_TYPE,
            store.put_bytes(&config)?,
            config.len() as u64,
        ),
        layers: vec![Descriptor::new(WASM_TYPE, layer, size)],
        annotations: Default::default(),
    };
    let digest = store_manifest(store, &manifest, reference)?;
    let component = Blob {
        digest: layer,
        size,
        path: store.blob_path(&layer),
    };
    Ok(PackedComponent { digest, component })
}
