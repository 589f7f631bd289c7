//! The list of operations, for clients that draw a form from it.

use serde_json::{Value, json};

use crate::query::SIGMA_DEFAULT;

/// What `op` can be, and the parameters of each.
pub(crate) fn operations() -> Value {
    json!({
        "operations": [
            { "op": "grayscale", "parameters": [] },
            {
                "op": "resize",
                "parameters": [
                    { "name": "width", "type": "integer", "minimum": 1, "unit": "px" },
                    { "name": "height", "type": "integer", "minimum": 1, "unit": "px" },
                ],
            },
            {
                "op": "blur",
                "parameters": [{
                    "name": "sigma", "type": "number", "unit": "px",
                    "minimum": 0.1, "maximum": 250.0, "default": SIGMA_DEFAULT,
                }],
            },
            { "op": "edges", "parameters": [] },
        ],
        "formats": ["png", "jpeg"],
    })
}
