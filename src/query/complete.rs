//! What can follow in a statement that is being written?
//!
//! [`Vocabulary`] holds the names; [`complete`] finds the word before the cursor and those that begin with it. Inside
//! of quotes after an attribute and an operator, values of the attribute are wanted: [`wanted_values`] says of which, and
//! [`complete_value`] makes suggestions of them.

use super::language::lex::{Lexeme, Piece, lex};
use crate::event::{AttributeKey, AttributeType, Level, TypeSet, schema};

/// Most suggestions.
const SUGGESTIONS_MAX: usize = 200;

/// Words of SQL that are suggested.
const KEYWORDS: &[&str] = &[
    "all",
    "and",
    "as",
    "asc",
    "between",
    "by",
    "case",
    "cast",
    "count(*)",
    "cross join",
    "desc",
    "describe",
    "distinct",
    "else",
    "end",
    "except",
    "exists",
    "explain",
    "explain analyze",
    "false",
    "filter (where",
    "from",
    "full join",
    "group by",
    "having",
    "ilike",
    "in",
    "intersect",
    "interval '1 hour'",
    "is not null",
    "is null",
    "join",
    "left join",
    "like",
    "limit",
    "not",
    "null",
    "nulls last",
    "offset",
    "on",
    "or",
    "order by",
    "over",
    "partition by",
    "right join",
    "select",
    "show tables",
    "similar to",
    "then",
    "true",
    "union",
    "union all",
    "using",
    "values",
    "when",
    "where",
    "with",
];

/// Words after which a table stands.
const BEFORE_TABLES: [&str; 3] = ["from", "join", "describe"];

/// Words after which names of columns follow no more.
const CLAUSES: [&str; 12] =
    ["where", "and", "or", "on", "by", "select", "having", "not", "when", "then", "else", "between"];

/// Names that a statement can use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Vocabulary {
    /// Tables and views.
    pub(crate) tables: Vec<String>,
    /// Functions in FROM.
    pub(crate) table_functions: Vec<String>,
    /// Functions in expressions.
    pub(crate) functions: Vec<String>,
    /// Columns of events.
    pub(crate) columns: Vec<String>,
    /// Attribute keys, as they are written in a statement, and their types.
    pub(crate) keys: Vec<(String, String)>,
}

/// Kind of a suggestion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A column of events.
    Column,
    /// An attribute.
    Key,
    /// A table or view.
    Table,
    /// A function.
    Function,
    /// A word of SQL.
    Keyword,
    /// A value of an attribute.
    Value,
}

impl Kind {
    /// Name in answers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Column => "column",
            Self::Key => "key",
            Self::Table => "table",
            Self::Function => "function",
            Self::Keyword => "keyword",
            Self::Value => "value",
        }
    }
}

/// Text that may replace the bytes `from..to` of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suggestion {
    /// The text.
    pub(crate) text: String,
    /// Kind.
    pub(crate) kind: Kind,
    /// Types of a key; else empty.
    pub(crate) detail: String,
    /// First byte that it replaces.
    pub(crate) from: usize,
    /// Byte after the last one that it replaces.
    pub(crate) to: usize,
}

/// Suggestions for byte `at` of `text`, the likely ones first; none inside of quotes and comments.
pub(crate) fn complete(text: &str, at: usize, vocabulary: &Vocabulary) -> Vec<Suggestion> {
    let Some(before) = text.get(..at) else { return Vec::new() };
    let lexemes = lex(before);
    let (from, word) = match lexemes.last() {
        Some(last) if last.piece == Piece::Word => (last.from, &before[last.from..]),
        Some(last) if matches!(last.piece, Piece::Text | Piece::Quoted | Piece::Comment) => {
            return Vec::new();
        }
        Some(last) if last.piece == Piece::Number => return Vec::new(),
        _ => (at, ""),
    };
    let previous = previous_word(before, &lexemes, from);
    let is_table = previous.as_deref().is_some_and(|word| BEFORE_TABLES.contains(&word));
    let suggestion = |text: &str, kind, detail: &str| Suggestion {
        text: text.to_owned(),
        kind,
        detail: detail.to_owned(),
        from,
        to: at,
    };
    let mut found = Vec::new();
    if is_table {
        found.extend(matching(&vocabulary.tables, word).map(|name| suggestion(name, Kind::Table, "")));
        let functions = matching(&vocabulary.table_functions, word);
        found.extend(functions.map(|name| suggestion(&format!("{name}("), Kind::Function, "")));
        return found;
    }
    found.extend(matching(&vocabulary.columns, word).map(|name| suggestion(name, Kind::Column, "")));
    let keys = vocabulary.keys.iter().filter(|(key, _)| fits(key.trim_start_matches('"'), word));
    found.extend(keys.map(|(key, types)| suggestion(key, Kind::Key, types)));
    if !word.is_empty() {
        let functions = matching(&vocabulary.functions, word);
        found.extend(functions.map(|name| suggestion(&format!("{name}("), Kind::Function, "")));
    }
    let keywords = KEYWORDS.iter().filter(|keyword| fits(keyword, word));
    let is_upper = word.chars().any(char::is_alphabetic) && !word.chars().any(char::is_lowercase);
    let keywords =
        keywords.map(|keyword| if is_upper { keyword.to_uppercase() } else { (*keyword).to_owned() });
    let keywords: Vec<_> = keywords.map(|keyword| suggestion(&keyword, Kind::Keyword, "")).collect();
    // After a clause a name is likelier, after a name a word of SQL.
    if previous.is_none_or(|word| CLAUSES.contains(&word.as_str())) || word.contains('.') {
        found.extend(keywords);
    } else {
        found.splice(0..0, keywords);
    }
    found.truncate(SUGGESTIONS_MAX);
    found
}

/// The attribute whose values are wanted at byte `at`, and the bytes of the value so far: `http.route = '/che`.
pub(crate) fn wanted_values(text: &str, at: usize) -> Option<(String, std::ops::Range<usize>)> {
    let before = text.get(..at)?;
    let lexemes: Vec<_> =
        lex(before).into_iter().filter(|l| !matches!(l.piece, Piece::Space | Piece::Comment)).collect();
    let (quote, rest) = lexemes.split_last()?;
    if quote.piece != Piece::Text || quote.is_closed {
        return None;
    }
    let mut rest = rest.iter().rev().peekable();
    // `key = '`, `key <> '`, `key like '`, `key in ('a', '`
    while let Some(lexeme) = rest.peek() {
        let text = &before[lexeme.from..lexeme.to];
        let is_operator = match lexeme.piece {
            Piece::Sign => "=<>!~(,".contains(text),
            Piece::Text => true,
            Piece::Word => ["in", "not", "like", "ilike"].contains(&text.to_lowercase().as_str()),
            _ => false,
        };
        if !is_operator {
            break;
        }
        rest.next();
    }
    let key = rest.next().filter(|lexeme| matches!(lexeme.piece, Piece::Word | Piece::Quoted))?;
    let name = before[key.from..key.to].to_owned();
    Some((name, quote.from + 1..at)).filter(|(name, _)| !is_keyword(name))
}

/// Suggestions for the value in `place` of `text`: those of `values` that begin as it does, with the quote that ends them.
pub(crate) fn complete_value(
    text: &str,
    place: &std::ops::Range<usize>,
    values: impl IntoIterator<Item = impl AsRef<str>>,
) -> Vec<Suggestion> {
    let Some(typed) = text.get(place.clone()) else { return Vec::new() };
    let is_closed = text[place.end..].starts_with('\'');
    let to = place.end + usize::from(is_closed);
    let values = values.into_iter().map(|value| format!("{}'", value.as_ref().replace('\'', "''")));
    let values = values.filter(|text| text.starts_with(typed)).take(SUGGESTIONS_MAX);
    values
        .map(|text| Suggestion { text, kind: Kind::Value, detail: String::new(), from: place.start, to })
        .collect()
}

/// Columns of events that statements name.
pub(crate) fn core_names() -> Vec<String> {
    let columns = schema::core_columns().iter().map(|column| column.field.name());
    columns.filter(|name| !name.starts_with('_')).cloned().collect()
}

/// Attribute keys as they are written in a statement, and their types; sorted, each once.
pub(crate) fn keys_written(keys: Vec<(AttributeKey, TypeSet)>) -> Vec<(String, String)> {
    let written = keys.into_iter().map(|(key, types)| {
        let types: Vec<_> = types.iter().map(AttributeType::name).collect();
        (written(&key.key, key.level == Level::Body), types.join(", "))
    });
    let mut keys: Vec<_> = written.collect();
    keys.sort_unstable();
    keys.dedup_by(|a, b| a.0 == b.0);
    keys
}

/// A key as a statement names it: bare if possible.
pub(crate) fn written(key: &str, is_of_body: bool) -> String {
    let name = if is_of_body { format!("body.{key}") } else { key.to_owned() };
    let is_word = matches!(lex(&name).as_slice(), [one] if one.piece == Piece::Word);
    let is_bare = is_word && !is_keyword(&name) && !name.contains(char::is_uppercase);
    if is_bare { name } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The word before the piece at byte `from`, in lower case; none at the start, and after a comma the word of the list.
fn previous_word(text: &str, lexemes: &[Lexeme], from: usize) -> Option<String> {
    let words = lexemes.iter().rev().skip_while(|lexeme| lexeme.from >= from);
    let mut significant = words.filter(|l| !matches!(l.piece, Piece::Space | Piece::Comment));
    let last = significant.next()?;
    match last.piece {
        Piece::Word | Piece::Quoted => Some(text[last.from..last.to].to_lowercase()),
        // Behind a sign a name follows: `a =`, `f(`, `a,`.
        Piece::Sign => None,
        _ => Some(String::new()),
    }
}

/// True if `word` is a word of SQL that has colours and needs quotes as a name.
pub(crate) fn is_keyword(word: &str) -> bool {
    let words = KEYWORDS.iter().flat_map(|keyword| keyword.split(' '));
    words.filter(|known| known.chars().all(char::is_alphabetic)).any(|known| known.eq_ignore_ascii_case(word))
}

fn matching<'a>(names: &'a [String], word: &'a str) -> impl Iterator<Item = &'a str> {
    names.iter().map(String::as_str).filter(move |name| fits(name, word))
}

/// True if `name` begins with `word`, in any case.
fn fits(name: &str, word: &str) -> bool {
    name.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Vocabulary {
            tables: names(&["spans", "services", "logs"]),
            table_functions: names(&["trace"]),
            functions: names(&["p50", "p99", "substr"]),
            columns: names(&["name", "span_id"]),
            keys: [("http.route", "text"), ("\"Http.Other\"", "bigint"), ("service.name", "text")]
                .map(|(key, types)| (key.to_owned(), types.to_owned()))
                .to_vec(),
        }
    }

    fn texts(text: &str) -> Vec<String> {
        complete(text, text.len(), &vocabulary()).into_iter().map(|found| found.text).collect()
    }

    #[test]
    fn tables_follow_from_and_names_follow_clauses() {
        assert_eq!(texts("select * from s"), ["spans", "services"]);
        assert_eq!(texts("select * FROM tr"), ["trace("]);
        assert_eq!(texts("select * from spans where http."), ["http.route", "\"Http.Other\""]);
        assert_eq!(texts("select p9"), ["p99("]);
        assert_eq!(texts("select name from spans WH"), ["WHEN", "WHERE"]);
        assert!(texts("select s").starts_with(&["span_id".to_owned(), "service.name".to_owned()]));
        assert!(
            texts("select 'from s").is_empty()
                && texts("-- from s").is_empty()
                && texts("limit 1").is_empty()
        );
    }

    #[test]
    fn a_suggestion_replaces_the_word_before_the_cursor() {
        let text = "select http.ro from spans";
        let found = complete(text, 14, &vocabulary());
        assert_eq!((found[0].from, found[0].to, found[0].detail.as_str()), (7, 14, "text"));
        assert!(complete("é", 1, &vocabulary()).is_empty(), "not on the border of a character");
    }

    #[test]
    fn keys_are_written_so_that_a_statement_can_name_them() {
        assert_eq!(written("http.route", false), "http.route");
        assert_eq!(written("order", true), "body.order");
        assert_eq!(written("User-Agent", false), "\"User-Agent\"");
        assert_eq!(written("a\"b", false), "\"a\"\"b\"");
        assert_eq!(written("group", false), "\"group\"");
    }

    #[test]
    fn a_value_is_completed_with_the_quote_that_ends_it() {
        let of = |text: &str, at: usize| {
            let (_, place) = wanted_values(text, at).unwrap();
            let found = complete_value(text, &place, ["iOS 17", "iOS 16", "it's", "Android"]);
            found.into_iter().map(|one| (one.text, one.from, one.to)).collect::<Vec<_>>()
        };
        assert_eq!(
            of("where os = 'iOS", 15),
            [("iOS 17'".to_owned(), 12, 15), ("iOS 16'".to_owned(), 12, 15)]
        );
        assert_eq!(of("where os = 'A' and", 13), [("Android'".to_owned(), 12, 14)]);
        assert_eq!(of("where os = 'it''", 16), [("it''s'".to_owned(), 12, 16)]);
    }

    #[test]
    fn values_are_wanted_in_the_quotes_after_a_key_and_an_operator() {
        let wanted =
            |text: &str| wanted_values(text, text.len()).map(|(key, place)| (key, text[place].to_owned()));
        let of = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
        assert_eq!(wanted("select 1 from spans where http.route = '/che"), of("http.route", "/che"));
        assert_eq!(wanted("where \"a b\" <> '"), of("\"a b\"", ""));
        assert_eq!(wanted("where x not in ('a', 'b"), of("x", "b"));
        assert_eq!(wanted("where x like 'a"), of("x", "a"));
        assert_eq!(wanted("where x = 'a'"), None);
        assert_eq!(wanted("select 'a"), None);
    }
}
