use wharf_artifact::{WASM_CONFIG_TYPE, describe, pack_component};

use crate::store::new_store;

#[test]
fn a_component_becomes_a_cncf_artifact() {
    let (_folder, store) = new_store();
    let bytes = wat::parse_str(r#"(component (import "wasi:clocks/wall-clock@0.2.6" (instance)))"#)
        .unwrap();
    let description = describe(&bytes).unwrap();
    let packed = pack_component(&store, &bytes, &description, "clock:1").unwrap();
    let again = pack_component(&store, &bytes, &description, "clock:2").unwrap();
    assert_eq!(packed, again);

    let read = |digest: &str| -> serde_json::Value {
        let bytes = store.read_blob(&digest.parse().unwrap(), 1 << 20).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let manifest = read(&packed.digest.to_string());
    assert_eq!(manifest["config"]["mediaType"], WASM_CONFIG_TYPE);
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    let config = read(manifest["config"]["digest"].as_str().unwrap());
    assert_eq!(config["architecture"], "wasm");
    assert_eq!(config["os"], "wasip2");
    assert_eq!(
        config["layerDigests"][0],
        packed.component.digest.to_string()
    );
    assert_eq!(
        config["component"]["imports"][0],
        "wasi:clocks/wall-clock@0.2.6"
    );

    let module = wat::parse_str("(module)").unwrap();
    let packed = pack_component(&store, &module, &describe(&module).unwrap(), "m").unwrap();
    let manifest = read(&packed.digest.to_string());
    let config = read(manifest["config"]["digest"].as_str().unwrap());
    assert_eq!(config["os"], "wasip1");
    assert!(config.get("component").is_none());
}
