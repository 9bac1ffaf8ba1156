//! Header compression. Source: RFC 7541.
