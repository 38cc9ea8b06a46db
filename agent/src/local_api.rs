//! local_api
