//! The screen: views to pictures.
