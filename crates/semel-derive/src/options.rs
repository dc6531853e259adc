//! What `#[message(…)]` says.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, DeriveInput, Error, LitStr, Member, Path, Result, Token};

const MISSING_TYPE: &str =
    "a message needs a stable name on the wire: add `#[message(type = \"order.place\")]`";
const UNKNOWN: &str = "unknown option; there are `type`, `entity`, `ordered` and `crate`";
const ORDERED_ALONE: &str =
    "messages keep their order per entity: add `entity = …`, or leave `ordered` out";

/// The path to a field, such as `line.order`.
pub(crate) type FieldPath = Punctuated<Member, Token![.]>;

/// The options of one message, checked.
pub(crate) struct Options {
    pub(crate) wire_name: LitStr,
    pub(crate) entity: Option<FieldPath>,
    pub(crate) ordered: bool,
    pub(crate) krate: Path,
}

/// The options as they are written: each at most once.
#[derive(Default)]
struct Written {
    wire_name: Option<LitStr>,
    entity: Option<FieldPath>,
    ordered: Option<Span>,
    krate: Option<Path>,
}

impl Options {
    pub(crate) fn of(input: &DeriveInput) -> Result<Self> {
        let mut written = Written::default();
        let attributes = || input.attrs.iter().filter(|attr| attr.path().is_ident("message"));
        for attribute in attributes() {
            attribute.parse_nested_meta(|meta| written.read(&meta))?;
        }
        let place = attributes().next().map_or(input.ident.span(), Attribute::span);
        written.check(place)
    }
}

impl Written {
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        match name.as_str() {
            "type" => once(meta, &mut self.wire_name, meta.value()?.parse()?),
            "entity" => once(meta, &mut self.entity, field_path(meta)?),
            "ordered" => once(meta, &mut self.ordered, meta.path.span()),
            "crate" => once(meta, &mut self.krate, meta.value()?.call(Path::parse_mod_style)?),
            _ => Err(meta.error(UNKNOWN)),
        }
    }

    fn check(self, place: Span) -> Result<Options> {
        let wire_name = self.wire_name.ok_or_else(|| Error::new(place, MISSING_TYPE))?;
        check_wire_name(&wire_name)?;
        if let (Some(ordered), None) = (self.ordered, &self.entity) {
            return Err(Error::new(ordered, ORDERED_ALONE));
        }
        Ok(Options {
            wire_name,
            entity: self.entity,
            ordered: self.ordered.is_some(),
            krate: self.krate.unwrap_or_else(|| syn::parse_quote!(::semel)),
        })
    }
}

fn once<T>(meta: &ParseNestedMeta<'_>, option: &mut Option<T>, value: T) -> Result<()> {
    match option.replace(value) {
        None => Ok(()),
        Some(_) => Err(meta.error("this option is given twice; keep one")),
    }
}

fn field_path(meta: &ParseNestedMeta<'_>) -> Result<FieldPath> {
    let value = meta.value()?;
    if value.peek(LitStr) {
        return Err(value.error("write the field without quotes: `entity = order`"));
    }
    FieldPath::parse_separated_nonempty(value)
}

fn check_wire_name(name: &LitStr) -> Result<()> {
    let text = name.value();
    if text.is_empty() {
        return Err(Error::new(name.span(), "the name on the wire is empty; write `order.place`"));
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let problem = "the name on the wire contains white space; write it as `order.place`";
        return Err(Error::new(name.span(), problem));
    }
    Ok(())
}
