//! From the tables as written to a [`NodeConfig`]: defaults, and rules over several keys.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::raw::{
    ADMIN, AllowTable, AppTables, CeilingsTable, EgressTable, LISTEN, ListenAddress, NodeAppTable,
    NodeLimitsTable, NodeTable, TlsTable,
};
use super::{Allowance, Ceilings, CertificateFiles, NodeApp, NodeConfig, NodeLimits, NodeTls};
use crate::error::Problems;
use crate::grant::PrivateAddress;
use crate::invalid::{InvalidValue, quote};
use crate::name::AppName;
use crate::parse::table::At;

/// The node of `table`; what is wrong or missing was reported, then any node may come back.
pub(super) fn lower(table: NodeTable, problems: &mut Problems<'_>) -> Option<NodeConfig> {
    let has_tls = !table.tls.is_absent();
    let listen = match table.listen.given() {
        Some(listen) => {
            if listen.value.is_empty() && !has_tls {
                problems.report(
                    listen.span.clone(),
                    InvalidValue::new("the node listens nowhere")
                        .with_hint("give an address, or add `[tls]`"),
                );
            }
            addresses(&listen.value)
        }
        None if has_tls => Vec::new(),
        None => vec![default_address(LISTEN)],
    };
    let tls = match table.tls.given() {
        Some(tls) => lower_tls(tls, problems),
        None => None,
    };
    let (trusted_proxies, forwarded_field) = match table.proxies.good() {
        Some(proxies) => (
            proxies.trusted.good().unwrap_or_default(),
            proxies.header.good().map(|word| word.0).unwrap_or_default(),
        ),
        None => Default::default(),
    };
    Some(NodeConfig {
        listen,
        admin: table
            .admin
            .good()
            .map_or_else(|| Some(default_address(ADMIN)), |admin| admin.0),
        tls,
        trusted_proxies,
        forwarded_field,
        private_addresses: table.egress.good().map(lower_egress).unwrap_or_default(),
        limits: table.limits.good().map(lower_limits).unwrap_or_default(),
        ceilings: table
            .ceilings
            .good()
            .map(lower_ceilings)
            .unwrap_or_default(),
        apps: match table.app.good() {
            Some(apps) => lower_apps(apps, problems),
            None => BTreeMap::new(),
        },
    })
}

fn default_address(text: &str) -> SocketAddr {
    text.parse().expect("the defaults are addresses")
}

fn addresses(list: &[ListenAddress]) -> Vec<SocketAddr> {
    list.iter().map(|address| address.0).collect()
}

fn lower_tls(tls: &At<TlsTable>, problems: &mut Problems<'_>) -> Option<NodeTls> {
    let listen = tls.value.listen.given()?;
    let certificates = tls.value.certificate.given()?;
    for (is_empty, span, what) in [
        (listen.value.is_empty(), &listen.span, "address"),
        (
            certificates.value.is_empty(),
            &certificates.span,
            "certificate",
        ),
    ] {
        if is_empty {
            problems.report(
                span.clone(),
                InvalidValue::new(format!("`tls` needs at least one {what}")),
            );
        }
    }
    let files = certificates.value.iter().filter_map(|certificate| {
        Some(CertificateFiles {
            chain: certificate.chain.given()?.value.0.clone(),
            key: certificate.key.given()?.value.0.clone(),
        })
    });
    Some(NodeTls {
        listen: addresses(&listen.value),
        certificates: files.collect(),
    })
}

fn lower_egress(table: EgressTable) -> Vec<PrivateAddress> {
    table.private.good().unwrap_or_default()
}

fn lower_allow(table: AllowTable) -> Allowance {
    Allowance {
        http: table.http.good(),
        net: table.net.good(),
    }
}

fn lower_limits(table: NodeLimitsTable) -> NodeLimits {
    let defaults = NodeLimits::default();
    NodeLimits {
        memory: table.memory.good(),
        connections: table
            .connections
            .good()
            .map_or(defaults.connections, |count| count.0),
        connections_per_client: table
            .connections_per_client
            .good()
            .map_or(defaults.connections_per_client, |count| count.0),
    }
}

fn lower_ceilings(table: CeilingsTable) -> Ceilings {
    Ceilings {
        memory: table.memory.good(),
        time: table.time.good().map(|time| time.0),
        cpu: table.cpu.good().map(|cpu| cpu.0),
        body_idle: table.body_idle.good().map(|idle| idle.0),
        concurrency: table.concurrency.good().map(|count| count.0),
        queue: table.queue.good().map(|count| count.0),
        handles: table.handles.good().map(|count| count.0),
        outgoing: table.outgoing.good().map(|count| count.0),
        response: table.response.good(),
        log: table.log.good(),
    }
}

fn lower_apps(tables: AppTables, problems: &mut Problems<'_>) -> BTreeMap<AppName, NodeApp> {
    let mut apps = BTreeMap::new();
    let mut owners: BTreeMap<String, AppName> = BTreeMap::new();
    let mut for_all_others: Option<AppName> = None;
    for (name, table) in tables.0 {
        let hosts = lower_hosts(&name, &table, &mut owners, &mut for_all_others, problems);
        if let Some(source) = table.source.good() {
            let app = NodeApp {
                source: source.0,
                hosts,
                memory: table.memory.good(),
                private_addresses: table.egress.good().map(lower_egress),
                allow: table.allow.good().map(lower_allow).unwrap_or_default(),
            };
            apps.insert(name.value, app);
        }
    }
    apps
}

/// The hosts of one app, reporting those that another has.
fn lower_hosts(
    name: &At<AppName>,
    table: &NodeAppTable,
    owners: &mut BTreeMap<String, AppName>,
    for_all_others: &mut Option<AppName>,
    problems: &mut Problems<'_>,
) -> Vec<super::HostName> {
    let hosts = table
        .hosts
        .given()
        .map_or(&[][..], |hosts| &hosts.value[..]);
    if hosts.is_empty() {
        // One that is wrong was reported, and is no sign that the app is for all names.
        let says_so = table.hosts.is_absent() || table.hosts.given().is_some();
        match for_all_others {
            Some(other) if says_so => problems.report(
                name.span.clone(),
                InvalidValue::new(format!(
                    "{} and {} both answer for all other host names",
                    quote(other.as_str()),
                    quote(name.value.as_str())
                ))
                .with_hint("give one of them `hosts = [\"NAME\"]`"),
            ),
            _ if says_so => *for_all_others = Some(name.value.clone()),
            _ => {}
        }
    }
    for host in hosts {
        let text = host.value.as_str().to_owned();
        if let Some(other) = owners.insert(text.clone(), name.value.clone()) {
            problems.report(
                host.span.clone(),
                InvalidValue::new(format!(
                    "the host {} belongs to {} already",
                    quote(&text),
                    quote(other.as_str())
                )),
            );
        }
    }
    hosts.iter().map(|host| host.value.clone()).collect()
}
