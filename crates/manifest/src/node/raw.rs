//! The tables of `node.toml`, key by key. The JSON Schema is drawn from these declarations.

use std::net::SocketAddr;
use std::ops::Range;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;
use toml::de::DeValue;

use super::{ForwardedField, HostName, NODE_APP_COUNT_MAX, NodeLimits};
use crate::address_range::AddressRange;
use crate::error::Problems;
use crate::grant::{HttpGrant, NetGrant, PrivateAddress};
use crate::invalid::{InvalidValue, quote};
use crate::name::AppName;
use crate::parse::table::{At, table};
use crate::parse::value::{
    FromToml, LimitCount, LimitDuration, NodeVersion, from_text, text_only, wrong_type,
};
use crate::size::ByteSize;

/// Where a node listens that does not say.
pub(super) const LISTEN: &str = "127.0.0.1:3000";
/// Where its operator asks.
pub(super) const ADMIN: &str = "127.0.0.1:3900";

table! {
    /// A wharf node: where it listens, the apps it serves, and what none of them may exceed.
    NodeTable in "the node file" {
        /// The version of this format.
        node: NodeVersion, required "node = 1";
        /// Addresses for HTTP without TLS. With `tls` there are none by default.
        listen: Vec<ListenAddress>, default json!([LISTEN]);
        /// The address for metrics and health, or `none`. Whoever reaches it sees them: keep it
        /// from the public.
        admin: AdminAddress, default ADMIN;
        /// HTTPS.
        tls: TlsTable;
        /// Whose word on the client is believed.
        proxies: ProxiesTable;
        /// What guests may reach besides the public network.
        egress: EgressTable;
        /// What all apps together may use up.
        limits: NodeLimitsTable;
        /// What the limits of every component are lowered to.
        ceilings: CeilingsTable;
        /// The apps by the names under which the node knows them.
        app: AppTables;
    }
}

table! {
    /// HTTPS: HTTP/1.1 and HTTP/2 over TLS 1.2 and 1.3.
    TlsTable in "`tls`" {
        /// Addresses for HTTPS.
        listen: Vec<ListenAddress>, required "listen = [\"0.0.0.0:443\"]";
        /// Certificates. Which one a client gets goes by the name that it asks for; the first
        /// is for clients that ask for none of them. They are read again when a file changes.
        certificate: Vec<CertificateTable>, required "certificate = [{ chain = \"FILE\", key = \"FILE\" }]";
    }
}

table! {
    /// A certificate in PEM files, relative to the folder of the node file.
    CertificateTable in "the certificate" {
        /// The certificate, then those that signed it.
        chain: FileName, required "chain = \"FILE\"";
        /// Its private key.
        key: FileName, required "key = \"FILE\"";
    }
}

table! {
    /// Proxies in front of the node.
    ProxiesTable in "`proxies`" {
        /// Addresses of proxies whose `Forwarded`, `X-Forwarded-*` and `X-Request-Id` are
        /// believed; from all others they are dropped.
        trusted: Vec<AddressRange>, default json!([]);
        /// Where they tell of their clients: `x-forwarded-for` (with `x-forwarded-proto`) or
        /// `forwarded`. The other field is not believed.
        header: ForwardedWord, default "x-forwarded-for";
    }
}

table! {
    /// Where guests may go.
    EgressTable in "`egress`" {
        /// Private addresses that guests may reach if their manifests ask for them: addresses,
        /// ranges, and names whose addresses may be private. Loopback, private, link-local and
        /// reserved addresses are refused otherwise. Where a cloud machine hands out its
        /// credentials is reached by its very address only.
        private: Vec<PrivateAddress>, default json!([]);
    }
}

table! {
    /// What all apps together may use up.
    NodeLimitsTable in "the node's limits" {
        /// Memories and tables of all instances together; without it, three quarters of the
        /// memory of the machine or the control group.
        memory: ByteSize;
        /// Connections at once.
        connections: LimitCount, default NodeLimits::default().connections;
        /// Connections at once from one client: an IPv4 address, or the first 64 bits of an
        /// IPv6 one.
        connections_per_client: LimitCount, default NodeLimits::default().connections_per_client;
    }
}

table! {
    /// Ceilings over the limits of every component; without one, what the manifest asks holds.
    CeilingsTable in "the ceilings" {
        /// Over the memory of one instance.
        memory: ByteSize;
        /// Over the time to the head of a response.
        time: LimitDuration;
        /// Over the time of computing per instance.
        cpu: LimitDuration;
        /// Over the time for pauses in a body.
        body_idle: LimitDuration;
        /// Over the requests in work at once, per component.
        concurrency: LimitCount;
        /// Over the requests waiting for their turn, per component.
        queue: LimitCount;
        /// Over the resource handles open at once, per instance.
        handles: LimitCount;
        /// Over the outgoing requests and sockets at once, per instance.
        outgoing: LimitCount;
        /// Over the bytes of one response body.
        response: ByteSize;
        /// Over the bytes of output kept per request.
        log: ByteSize;
    }
}

table! {
    /// One app: where it is, and the names under which it is asked for.
    NodeAppTable in "the app" {
        /// A folder with a `wharf.toml`, a `.wasm` file, or NAME:VERSION of an app in the store.
        source: AppSource, required "source = \"FOLDER\"";
        /// Host names; without them the app answers for all names that no other app has.
        hosts: Vec<At<HostName>>, default json!([]);
        /// Memories and tables of all its instances together; without it, the node's.
        memory: ByteSize;
        /// What its components may reach besides the public network, in place of what the node's
        /// `egress` says.
        egress: EgressTable;
        /// What its components may be granted of what its manifest asks.
        allow: AllowTable;
    }
}

table! {
    /// What an app may be granted. What its manifest asks is granted as far as it is allowed here,
    /// too; a key that is not there allows all.
    AllowTable in "`allow`" {
        /// Servers that its components may send requests to.
        http: Vec<HttpGrant>;
        /// Addresses that they may open sockets to. A name is allowed by that name or a wildcard,
        /// an address by itself or a range.
        net: Vec<NetGrant>;
    }
}

from_text! {
    ListenAddress, "an address such as `\"0.0.0.0:80\"`";
    AdminAddress, "an address such as `\"127.0.0.1:3900\"`, or `\"none\"`";
    FileName, "a file such as `\"certs/example.pem\"`";
    AppSource, "a folder, a file or an app such as `\"guestbook\"` or `\"guestbook:0.1.0\"`";
    PrivateAddress, "an address, range or name such as `\"10.0.0.5\"`";
    ForwardedWord, "`\"x-forwarded-for\"` or `\"forwarded\"`";
    AddressRange, "an address or range such as `\"10.0.0.0/8\"`";
    HostName, "a host name such as `\"example.com\"`";
}

text_only! {
    /// An IP address and a port.
    ListenAddress(SocketAddr), {
        "description": "An IP address and a port, as in 127.0.0.1:3000 or [::1]:3000.",
        "type": "string",
        "pattern": "^.+:[0-9]+$"
    }, parse_listen;

    /// The same, or none.
    AdminAddress(Option<SocketAddr>), {
        "description": "An IP address and a port, or `none`.",
        "type": "string",
        "pattern": "^(none|.+:[0-9]+)$"
    }, parse_admin;

    /// The field in which proxies tell of their clients.
    ForwardedWord(ForwardedField), {
        "description": "`x-forwarded-for` or `forwarded`.",
        "enum": ["x-forwarded-for", "forwarded"]
    }, parse_forwarded;

    /// A path on this machine.
    FileName(String), {
        "description": "A file, absolute or relative to the folder of the node file.",
        "type": "string",
        "minLength": 1
    }, parse_path;

    /// Where an app is.
    AppSource(String), {
        "description": "A folder with a wharf.toml, a .wasm file, or NAME:VERSION of an app in the store.",
        "type": "string",
        "minLength": 1
    }, parse_path;
}

fn parse_listen(text: &str) -> Result<SocketAddr, InvalidValue> {
    text.parse().map_err(|_| {
        let invalid = InvalidValue::new(format!("{} is no address with a port", quote(text)));
        let port = text.trim_start_matches(':');
        invalid.with_hint(match port.parse::<u16>() {
            Ok(port) => format!(
                "write `127.0.0.1:{port}`, or `0.0.0.0:{port}` for all who reach this machine"
            ),
            Err(_) => "write `127.0.0.1:3000`, `0.0.0.0:80` or `[::]:80`".to_owned(),
        })
    })
}

fn parse_forwarded(text: &str) -> Result<ForwardedField, InvalidValue> {
    match text.to_ascii_lowercase().as_str() {
        "x-forwarded-for" => Ok(ForwardedField::XForwardedFor),
        "forwarded" => Ok(ForwardedField::Forwarded),
        _ => Err(
            InvalidValue::new(format!("proxies are not read in {}", quote(text)))
                .with_hint("there are `x-forwarded-for` and `forwarded`"),
        ),
    }
}

fn parse_admin(text: &str) -> Result<Option<SocketAddr>, InvalidValue> {
    match text {
        "none" => Ok(None),
        _ => parse_listen(text).map(Some),
    }
}

fn parse_path(text: &str) -> Result<String, InvalidValue> {
    if text.trim().is_empty() || text.contains('\0') {
        return Err(InvalidValue::new(format!("{} is no path", quote(text))));
    }
    Ok(text.to_owned())
}

/// The tables `[app.NAME]`, in the order of their names.
#[derive(Debug)]
pub(crate) struct AppTables(pub(crate) Vec<(At<AppName>, NodeAppTable)>);

impl FromToml for AppTables {
    const EXPECTED: &'static str = "tables `[app.NAME]`";

    fn read(value: &DeValue<'_>, span: Range<usize>, problems: &mut Problems<'_>) -> Option<Self> {
        let DeValue::Table(table) = value else {
            problems.report(span, wrong_type::<Self>(value));
            return None;
        };
        if table.len() > NODE_APP_COUNT_MAX {
            problems.report(
                span,
                InvalidValue::new(format!(
                    "the node has {} apps; at most {NODE_APP_COUNT_MAX} are allowed",
                    table.len()
                )),
            );
            return None;
        }
        let mut read = Vec::new();
        for (key, value) in table.iter() {
            let name = AppName::from_str(key.get_ref())
                .map_err(|invalid| problems.report(key.span(), invalid));
            let span = match value.span().is_empty() {
                true => key.span(),
                false => value.span(),
            };
            let app = NodeAppTable::read(value.get_ref(), span, problems);
            if let (Ok(value), Some(app)) = (name, app) {
                let span = key.span();
                read.push((At { value, span }, app));
            }
        }
        Some(Self(read))
    }
}

impl JsonSchema for AppTables {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AppTables".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": NODE_APP_COUNT_MAX,
            "propertyNames": generator.subschema_for::<AppName>(),
            "additionalProperties": generator.subschema_for::<NodeAppTable>()
        })
    }
}
