//! What does a planned statement mean, where types decide it?
//!
//! The resolver knows names and no types. Once DataFusion has planned a statement, [`rewrite`] goes over it:
//!
//! | module         | rewrites                                                                   |
//! |----------------|----------------------------------------------------------------------------|
//! | [`hex`]        | comparisons of ids with text                                               |
//! | [`compare`]    | comparisons of text with numbers                                           |
//! | [`mixed`]      | attributes whose values have several types                                 |
//! | [`calculate`]  | functions of numbers that are given text                                   |
//! | [`choose`]     | `greatest`, `least` and `nullif` of attributes of several types            |
//! | [`arithmetic`] | integer operators, so that none wraps around                               |
//! | [`nested`]     | operators that look into JSON text                                         |
//! | [`zones`]      | nothing, but refuses zones of time that do not exist                       |
//! | [`casts`]      | nothing, but notes the casts that may fail by a value, for their errors    |
//!
//! None of it looks at data, or at what is in memory: a statement over a snapshot has one plan.
//! [`group_by_codes`] does look, but only when a plan is about to be carried out in this process.

pub(crate) mod walk;
pub(crate) mod rewrite;
mod hex;
pub(crate) mod compare;
mod mixed;
pub(crate) mod calculate;
mod choose;
pub(crate) mod arithmetic;
pub(crate) mod nested;
mod zones;
pub(crate) mod casts;
pub(crate) mod group_by_codes;
