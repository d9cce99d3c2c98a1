//! The table of ports.

/// The protocol of a port's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Wire {
    /// HTTP/1.1, and HTTP/2 with prior knowledge.
    Http,
    /// gRPC, which is HTTP/2 only.
    Grpc,
    /// PostgreSQL's frontend/backend protocol, version 3.
    #[cfg(feature = "postgres")]
    Postgres,
}

/// One line of the table.
struct Row {
    name: &'static str,
    address: Option<&'static str>,
    wire: Wire,
    about: &'static str,
}

macro_rules! ports {
    ($($(#[$condition:meta])* $port:ident: $name:literal, $address:expr, $wire:ident, $about:literal;)*) => {
        /// A port that a server may listen on. Ports are listed in this order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Port {
            $($(#[$condition])* #[doc = $about] $port,)*
        }

        impl Port {
            /// Every port, in order.
            pub const ALL: &'static [Self] = &[$($(#[$condition])* Self::$port),*];

            const fn row(self) -> Row {
                match self {
                    $($(#[$condition])* Self::$port => Row { name: $name, address: $address, wire: Wire::$wire, about: $about },)*
                }
            }
        }
    };
}

// Variant: name, default address if it is on by default, protocol, one line of help.
ports! {
    Http: "http", Some("127.0.0.1:8080"), Http, "SQL, health, metrics, and OTLP/HTTP too";
    OtlpGrpc: "otlp-grpc", Some("127.0.0.1:4317"), Grpc, "OTLP/gRPC";
    OtlpHttp: "otlp-http", Some("127.0.0.1:4318"), Http, "OTLP/HTTP on its usual port";
    #[cfg(feature = "postgres")]
    Postgres: "postgres", None, Postgres, "SQL for clients of PostgreSQL, such as 127.0.0.1:5432; off by default";
}

impl Port {
    /// Name of the option, of the key in the configuration, and in the printed addresses.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Default address; `None` for a port that is off by default. It is on the loopback interface, so that a server
    /// is reachable from outside only if configured so.
    pub const fn default_address(self) -> Option<&'static str> {
        self.row().address
    }

    /// One line about what the port serves.
    pub const fn about(self) -> &'static str {
        self.row().about
    }

    /// Name of the environment variable that holds its address.
    pub fn variable(self) -> String {
        format!("BROADLOOM_{}", self.name().to_ascii_uppercase().replace('-', "_"))
    }

    /// Protocol of its connections.
    pub(in crate::server) const fn wire(self) -> Wire {
        self.row().wire
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn names_and_default_addresses_are_unique_and_on_loopback() {
        let names: BTreeSet<&str> = Port::ALL.iter().map(|port| port.name()).collect();
        let addresses: BTreeSet<SocketAddr> =
            Port::ALL.iter().filter_map(|port| Some(port.default_address()?.parse().unwrap())).collect();
        let on = Port::ALL.iter().filter(|port| port.default_address().is_some()).count();
        assert_eq!((names.len(), addresses.len()), (Port::ALL.len(), on));
        assert!(addresses.iter().all(|address| address.ip().is_loopback()), "{addresses:?}");
        assert!(Port::ALL.is_sorted());
        assert_eq!(Port::OtlpGrpc.variable(), "BROADLOOM_OTLP_GRPC");
    }
}
