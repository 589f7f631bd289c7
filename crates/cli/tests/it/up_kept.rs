//! What guests make the host keep counts to their memory.

use http::Request;

use crate::up_client::{Client, WIRES, full, get};
use crate::up_hostile::{WASIS, is_good, up};
use crate::up_http::memory_peak;
use crate::up_kitchen::KITCHENS;

const LIMIT_BYTES: u64 = 48 << 20;
const LIMITS: &str = "limits = { memory = \"48MiB\", cpu = \"30s\" }";

/// For what the engine and its threads take beside the guest's memory.
const BESIDE_BYTES: u64 = 24 << 20;

/// One instance at its limit takes no more than the limit, text on the host included; the log says
/// what was met, and nothing is left of it.
#[tokio::test(flavor = "multi_thread")]
async fn text_on_the_host_counts_to_the_memory_limit() {
    for wasi in WASIS {
        let up = up(wasi, LIMITS);
        is_good(&up, "the beginning").await;
        let before = memory_peak(up.server.id());
        for path in ["/kept/fields", "/kept/paths", "/kept/fields", "/kept/paths"] {
            let at = format!("{wasi:?} {path}");
            let mark = up.server.mark();
            let answer = get(up.addr, path).await;
            assert_eq!(answer.status, 500, "{at}: {}", answer.text());
            let request = up.logged_request(mark, path);
            let error = request["error"].as_str().unwrap_or_default();
            assert_eq!(error, "memory limit of 48MiB met", "{at}: {request}");
            is_good(&up, &at).await;
        }
        let peak = memory_peak(up.server.id());
        let most = before + LIMIT_BYTES + BESIDE_BYTES;
        assert!(peak <= most, "{wasi:?}: {before} bytes grew to {peak}");
    }
}

/// What is dropped counts no more, however much it was in all: 80 MB here.
#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_gone_is_given_back() {
    for wasi in WASIS {
        let up = up(wasi, LIMITS);
        let answer = get(up.addr, "/kept/dropped").await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, "dropped\n"),
            "{wasi:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_are_short() {
    for wasi in WASIS {
        let up = up(wasi, LIMITS);
        let answer = get(up.addr, "/kept/method").await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, "refused\n"),
            "{wasi:?}"
        );
    }
}

/// A guest that means no harm reads and writes as many fields as a request may have, again and
/// again, within little memory.
#[tokio::test(flavor = "multi_thread")]
async fn many_fields_are_fine() {
    for kitchen in KITCHENS {
        let up = kitchen.up_with("reuse = true\nlimits = { memory = \"16MiB\" }");
        for wire in WIRES {
            let mut client = Client::connect(up.addr, wire).await;
            for _ in 0..20 {
                let mut request = Request::get("/headers");
                for number in 0..60 {
                    request = request.header(format!("x-{number}"), "v".repeat(500));
                }
                let answer = client.send(request.body(full("")).unwrap()).await;
                assert_eq!(answer.status, 200, "{kitchen}: {}", answer.text());
                assert!(answer.text().contains("\"x-59\""), "{kitchen}");
            }
        }
    }
}
