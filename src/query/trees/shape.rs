//! Relations of spans in a trace: `a >> b`, the spans of `b` that are below one of `a`.
//!
//! ```text
//! shape    = related ( ("&&" | "||") related )*        of equal precedence, left to right
//! related  = term ( relation term )*                   left to right
//! relation = ["!" | "&"] ( ">" | ">>" | "<" | "<<" | "~" )
//! term     = letter | "(" shape ")"
//! ```
//!
//! | shape | spans |
//! |---|---|
//! | `a > b`, `a >> b` | of `b` whose parent, or an ancestor, is in `a` |
//! | `a < b`, `a << b` | of `b` with a child, or a descendant, in `a` |
//! | `a ~ b` | of `b` with a sibling in `a`: another child of its parent |
//! | `a !> b`, … | of `b` for which that is not so |
//! | `a &> b`, … | of both sides that are in such a pair |
//! | `a && b` | of either, if both have one |
//! | `a \|\| b` | of either |
//!
//! A set is a bit per row, and each relation one pass over the rows: no span is compared with another. Pure.

/// Deepest nesting of parentheses.
const DEPTH_MAX: usize = 50;

/// A shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// Spans for which the condition of this number holds.
    Condition(usize),
    /// Spans in a relation.
    Related { left: Box<Shape>, relation: Relation, form: Form, right: Box<Shape> },
    /// Spans of both if both have some.
    And(Box<Shape>, Box<Shape>),
    /// Spans of either.
    Or(Box<Shape>, Box<Shape>),
}

/// Relation of a span on the left to one on the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Parent,
    Ancestor,
    Child,
    Descendant,
    Sibling,
}

/// Spans of a relation that are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Those on the right that have a partner.
    Right,
    /// Those on the right that have none.
    Not,
    /// Those on both sides that have one.
    Both,
}

impl Relation {
    fn inverse(self) -> Self {
        match self {
            Self::Parent => Self::Child,
            Self::Ancestor => Self::Descendant,
            Self::Child => Self::Parent,
            Self::Descendant => Self::Ancestor,
            Self::Sibling => Self::Sibling,
        }
    }
}

/// Reads a shape. The error says what is wrong, and where.
pub(super) fn parse(text: &str) -> Result<Shape, String> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let shape = parser.shape()?;
    match parser.rest() {
        "" => Ok(shape),
        _ => Err(parser.wrong("a relation such as >>, && or ||, or the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// Text from the next sign on.
    fn rest(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    fn wrong(&mut self, expected: &str) -> String {
        let found =
            self.rest().chars().next().map_or_else(|| "its end".to_owned(), |sign| format!("\"{sign}\""));
        let place = self.text[..self.at].chars().count() + 1;
        format!("the shape \"{}\" has {found} at character {place}, where {expected} is expected", self.text)
    }

    fn shape(&mut self) -> Result<Shape, String> {
        let mut left = self.related()?;
        loop {
            left = if self.take("&&") {
                Shape::And(Box::new(left), Box::new(self.related()?))
            } else if self.take("||") {
                Shape::Or(Box::new(left), Box::new(self.related()?))
            } else {
                return Ok(left);
            };
        }
    }

    fn related(&mut self) -> Result<Shape, String> {
        let mut left = self.term()?;
        while let Some((relation, form)) = self.relation()? {
            let right = Box::new(self.term()?);
            left = Shape::Related { left: Box::new(left), relation, form, right };
        }
        Ok(left)
    }

    fn relation(&mut self) -> Result<Option<(Relation, Form)>, String> {
        if self.rest().starts_with("&&") {
            return Ok(None);
        }
        let form = if self.take("!") {
            Form::Not
        } else if self.take("&") {
            Form::Both
        } else {
            Form::Right
        };
        let signs = [
            (">>", Relation::Ancestor),
            (">", Relation::Parent),
            ("<<", Relation::Descendant),
            ("<", Relation::Child),
            ("~", Relation::Sibling),
        ];
        let found = signs.into_iter().find(|(sign, _)| self.take(sign));
        match (found, form) {
            (Some((_, relation)), form) => Ok(Some((relation, form))),
            (None, Form::Right) => Ok(None),
            (None, _) => Err(self.wrong("one of > >> < << ~")),
        }
    }

    fn term(&mut self) -> Result<Shape, String> {
        if self.take("(") {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err(format!("the shape has more than {DEPTH_MAX} levels of parentheses"));
            }
            let shape = self.shape()?;
            self.depth -= 1;
            return if self.take(")") { Ok(shape) } else { Err(self.wrong("a closing parenthesis")) };
        }
        match self.rest().bytes().next() {
            Some(letter @ b'a'..=b'z') => {
                self.at += 1;
                Ok(Shape::Condition(usize::from(letter - b'a')))
            }
            _ => Err(self.wrong("the letter of a condition, or a parenthesis,")),
        }
    }
}

impl Shape {
    /// Conditions that it names.
    pub(super) fn conditions(&self) -> Vec<usize> {
        match self {
            Self::Condition(number) => vec![*number],
            Self::Related { left, right, .. } | Self::And(left, right) | Self::Or(left, right) => {
                [left.conditions(), right.conditions()].concat()
            }
        }
    }

    /// Rows of the tree that are meant. `parents` are the rows of the parents, each before its children; `holds` says
    /// whether a condition holds for a row.
    pub(super) fn rows(&self, parents: &[Option<u32>], holds: &impl Fn(usize, usize) -> bool) -> Vec<bool> {
        match self {
            Self::Condition(number) => (0..parents.len()).map(|row| holds(*number, row)).collect(),
            Self::And(left, right) => {
                let (left, right) = (left.rows(parents, holds), right.rows(parents, holds));
                if left.contains(&true) && right.contains(&true) {
                    either(&left, &right)
                } else {
                    vec![false; left.len()]
                }
            }
            Self::Or(left, right) => either(&left.rows(parents, holds), &right.rows(parents, holds)),
            Self::Related { left, relation, form, right } => {
                let (left, right) = (left.rows(parents, holds), right.rows(parents, holds));
                let have = partners(&left, *relation, parents);
                match form {
                    Form::Right => both(&right, &have),
                    Form::Not => right.iter().zip(&have).map(|(right, has)| *right && !has).collect(),
                    Form::Both => {
                        let left_have = partners(&right, relation.inverse(), parents);
                        either(&both(&right, &have), &both(&left, &left_have))
                    }
                }
            }
        }
    }
}

fn either(a: &[bool], b: &[bool]) -> Vec<bool> {
    a.iter().zip(b).map(|(a, b)| *a || *b).collect()
}

fn both(a: &[bool], b: &[bool]) -> Vec<bool> {
    a.iter().zip(b).map(|(a, b)| *a && *b).collect()
}

/// Rows to which one of the set `of` is in the relation.
fn partners(of: &[bool], relation: Relation, parents: &[Option<u32>]) -> Vec<bool> {
    let parent = |row: usize| parents[row].map(|parent| parent as usize);
    let mut found = vec![false; of.len()];
    match relation {
        Relation::Parent | Relation::Ancestor => {
            for row in 0..of.len() {
                let above = |parent: usize| of[parent] || relation == Relation::Ancestor && found[parent];
                found[row] = parent(row).is_some_and(above);
            }
        }
        Relation::Child | Relation::Descendant => {
            for row in (0..of.len()).rev() {
                let is_below = of[row] || relation == Relation::Descendant && found[row];
                if let (true, Some(parent)) = (is_below, parent(row)) {
                    found[parent] = true;
                }
            }
        }
        Relation::Sibling => {
            let mut children = vec![0_u32; of.len()];
            for (row, is_in) in of.iter().enumerate() {
                if let (true, Some(parent)) = (*is_in, parent(row)) {
                    children[parent] += 1;
                }
            }
            for row in 0..of.len() {
                found[row] = parent(row).is_some_and(|parent| children[parent] > u32::from(of[row]));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 0 ─ 1 ─ 2
    ///   └ 3 ─ 4
    ///       └ 5
    const TREE: [Option<u32>; 6] = [None, Some(0), Some(1), Some(0), Some(3), Some(3)];

    fn found(shape: &str, sets: &[&[usize]]) -> Vec<usize> {
        let rows = parse(shape).unwrap().rows(&TREE, &|condition, row| sets[condition].contains(&row));
        rows.iter().enumerate().filter(|(_, is_in)| **is_in).map(|(row, _)| row).collect()
    }

    #[test]
    fn relations_find_the_right_side() {
        assert_eq!(found("a > b", &[&[0, 3], &[1, 2, 4]]), [1, 4]);
        assert_eq!(found("a >> b", &[&[0], &[2, 5, 0]]), [2, 5]);
        assert_eq!(found("a < b", &[&[4], &[0, 3]]), [3]);
        assert_eq!(found("a << b", &[&[4], &[0, 1, 3]]), [0, 3]);
        assert_eq!(found("a ~ b", &[&[4], &[4, 5, 2]]), [5]);
        assert_eq!(found("a !> b", &[&[0, 3], &[0, 1, 2, 4]]), [0, 2]);
        assert_eq!(found("a &>> b", &[&[1, 3], &[4, 0]]), [3, 4]);
        assert_eq!(found("a && b", &[&[1], &[4]]), [1, 4]);
        assert!(found("a && b", &[&[1], &[]]).is_empty());
        assert_eq!(found("a || b", &[&[1], &[]]), [1]);
        assert_eq!(found("(a > b) > c", &[&[0], &[3], &[2, 5]]), [5]);
        assert_eq!(found("a > b && c", &[&[0], &[1], &[5]]), [1, 5]);
    }

    #[test]
    fn wrong_shapes_say_where() {
        for (shape, words) in [
            ("", "has its end at character 1"),
            ("a >", "at character 4"),
            ("a b", "has \"b\" at character 3"),
            ("a !b", "one of > >> < << ~"),
            ("(a", "closing"),
            ("A > b", "has \"A\" at character 1"),
            ("a > é", "has \"é\" at character 5"),
        ] {
            let message = parse(shape).unwrap_err();
            assert!(message.contains(words), "{shape}: {message}");
        }
        assert!(parse(&"(".repeat(1000)).is_err());
    }

    proptest! {
        /// Each relation is what comparing every pair of spans finds.
        #[test]
        fn relations_are_those_of_all_pairs(
            parents in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
            sets in prop::collection::vec(any::<(bool, bool)>(), 12),
        ) {
            let parents: Vec<Option<u32>> =
                parents.iter().enumerate().map(|(row, at)| (row > 0).then(|| at.index(row) as u32)).collect();
            let parent = |row: usize| parents[row].map(|parent| parent as usize);
            let is_above = |a: usize, b: usize| std::iter::successors(parent(b), |row| parent(*row)).any(|row| row == a);
            type Test<'a> = &'a dyn Fn(usize, usize) -> bool;
            let tests: [(&str, Test<'_>); 5] = [
                (">", &|a, b| parent(b) == Some(a)),
                (">>", &is_above),
                ("<", &|a, b| parent(a) == Some(b)),
                ("<<", &|a, b| is_above(b, a)),
                ("~", &|a, b| a != b && parent(a).is_some() && parent(a) == parent(b)),
            ];
            let rows = 0..parents.len();
            for (sign, test) in tests {
                let pairs = |b: usize| sets[b].1 && rows.clone().any(|a| sets[a].0 && test(a, b));
                let expected: Vec<bool> = rows.clone().map(pairs).collect();
                let holds = |condition: usize, row: usize| if condition == 0 { sets[row].0 } else { sets[row].1 };
                prop_assert_eq!(parse(&format!("a{sign}b")).unwrap().rows(&parents, &holds), expected, "{}", sign);
            }
        }
    }
}
