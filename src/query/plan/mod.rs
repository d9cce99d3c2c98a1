//! How are planned statements rewritten where types decide the meaning?
//!
//! The resolver knows names but not types. Once DataFusion has planned a statement, [`rewrite`] applies these:
//!
//! | module         | rewrites                                                                   |
//! |----------------|----------------------------------------------------------------------------|
//! | [`hex`]        | comparisons of ids with text                                               |
//! | [`levels`]     | words of log levels beside `severity`                                      |
//! | [`compare`]    | comparisons of text with numbers                                           |
//! | [`mixed`]      | attributes whose values have several types                                 |
//! | [`calculate`]  | functions of numbers with text arguments                                   |
//! | [`choose`]     | `greatest`, `least` and `nullif` of attributes of several types            |
//! | [`arithmetic`] | integer operators, so that none wraps around                               |
//! | [`nested`]     | operators that read JSON text                                              |
//! | [`truth`]      | `IS TRUE` and its relatives in places other than conditions                |
//! | [`zones`]      | nothing; refuses unknown time zones                                        |
//! | [`casts`]      | nothing; records casts that may fail for a value, for their errors         |
//!
//! [`yields`] changes physical plans: their joins let other tasks run.
//!
//! These rewrites read neither data nor caches: a statement over a snapshot has one plan. [`group_by_codes`] does
//! consult the cache, but only when a plan is about to run in this process.

pub(crate) mod walk;
pub(crate) mod rewrite;
mod hex;
mod levels;
pub(crate) mod compare;
mod mixed;
pub(crate) mod calculate;
mod choose;
pub(crate) mod arithmetic;
pub(crate) mod nested;
mod truth;
mod zones;
pub(crate) mod casts;
pub(crate) mod group_by_codes;
pub(crate) mod yields;
