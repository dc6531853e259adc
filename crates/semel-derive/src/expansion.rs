//! What the derive writes.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Ident, Result};

use crate::options::{FieldPath, Options};

const GENERIC: &str = "a message cannot be generic, since one name on the wire means one type: write \
                       a struct for each";
const UNION: &str = "a union cannot be a message: write a struct or an enum";
const ENUM_WITH_ENTITY: &str = "only a struct can name an entity: put the enum into a struct, next \
                                to the field with the key";

/// The implementations of `Message` and, where an entity is named, of `Keyed`.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let options = Options::of(input)?;
    check_shape(input, &options)?;
    let message = message(&input.ident, &options);
    let keyed = options.entity.as_ref().map(|entity| keyed(&input.ident, entity, &options));
    Ok(quote! { #message #keyed })
}

fn check_shape(input: &DeriveInput, options: &Options) -> Result<()> {
    if !input.generics.params.is_empty() {
        return Err(Error::new(input.generics.params.span(), GENERIC));
    }
    match (&input.data, &options.entity) {
        (Data::Union(union), _) => Err(Error::new(union.union_token.span, UNION)),
        (Data::Enum(_), Some(entity)) => Err(Error::new(entity.span(), ENUM_WITH_ENTITY)),
        _ => Ok(()),
    }
}

fn message(name: &Ident, options: &Options) -> TokenStream {
    let Options { wire_name, krate, .. } = options;
    let order = options.ordered.then(|| {
        quote! { const ORDER: #krate::Order = #krate::Order::PerSubject; }
    });
    let subject = options.entity.as_ref().map(|_| {
        quote! {
            fn subject(&self) -> ::core::option::Option<::std::string::String> {
                ::core::option::Option::Some(#krate::Keyed::key(self))
            }
        }
    });
    quote! {
        #[automatically_derived]
        impl #krate::Message for #name {
            const TYPE: &'static ::core::primitive::str = #wire_name;
            #order
            #subject
        }
    }
}

fn keyed(name: &Ident, entity: &FieldPath, options: &Options) -> TokenStream {
    let krate = &options.krate;
    // Where the option stands, so that rustc points there when the field has no `Display`.
    let place = entity.span().resolved_at(Span::call_site());
    let key = quote_spanned! { place => ::std::string::ToString::to_string(&self.#entity) };
    quote! {
        #[automatically_derived]
        impl #krate::Keyed for #name {
            fn key(&self) -> ::std::string::String {
                #key
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;
    use quote::quote;

    use super::expand;

    #[track_caller]
    fn check(input: TokenStream, expected: &TokenStream) {
        let input = syn::parse2(input).unwrap();
        assert_eq!(expand(&input).unwrap().to_string(), expected.to_string());
    }

    /// Checks what the error says, and which part of the source it points at.
    #[track_caller]
    fn check_error(source: &str, place: &str, text: &str) {
        let error = syn::parse_str(source).and_then(|input| expand(&input)).unwrap_err();
        assert_eq!(error.to_string(), text);
        assert_eq!(error.span().source_text().unwrap(), place);
    }

    #[test]
    fn a_message_with_an_entity_is_keyed_and_has_a_subject() {
        check(
            quote! {
                #[derive(Message)]
                #[message(type = "order.place", entity = order, ordered)]
                struct PlaceOrder { order: String }
            },
            &quote! {
                #[automatically_derived]
                impl ::semel::Message for PlaceOrder {
                    const TYPE: &'static ::core::primitive::str = "order.place";
                    const ORDER: ::semel::Order = ::semel::Order::PerSubject;
                    fn subject(&self) -> ::core::option::Option<::std::string::String> {
                        ::core::option::Option::Some(::semel::Keyed::key(self))
                    }
                }
                #[automatically_derived]
                impl ::semel::Keyed for PlaceOrder {
                    fn key(&self) -> ::std::string::String {
                        ::std::string::ToString::to_string(&self.order)
                    }
                }
            },
        );
    }

    #[test]
    fn a_message_without_an_entity_has_a_name_alone() {
        for kind in [quote! { struct Ping; }, quote! { enum Ping { A, B(u8) } }] {
            check(
                quote! { #[message(type = "ping", crate = semel_core)] #kind },
                &quote! {
                    #[automatically_derived]
                    impl semel_core::Message for Ping {
                        const TYPE: &'static ::core::primitive::str = "ping";
                    }
                },
            );
        }
    }
    #[test]
    fn the_key_may_lie_deeper_or_have_a_number() {
        for path in [quote! { line.order.r#type }, quote! { 0 }, quote! { line.1.order }] {
            let input = quote! { #[message(type = "t", entity = #path)] struct T { line: Line } };
            let expansion = expand(&syn::parse2(input).unwrap()).unwrap().to_string();
            assert!(expansion.contains(&quote! { to_string(&self.#path) }.to_string()));
        }
    }

    #[test]
    fn options_may_stand_in_attributes_of_their_own_beside_foreign_ones() {
        check(
            quote! {
                /// Documented.
                #[message(crate = crate::deep)]
                #[serde(deny_unknown_fields)]
                #[message(type = "t",)]
                struct T {}
            },
            &quote! {
                #[automatically_derived]
                impl crate::deep::Message for T {
                    const TYPE: &'static ::core::primitive::str = "t";
                }
            },
        );
    }

    #[test]
    fn a_message_without_a_name_on_the_wire_is_refused() {
        let text =
            "a message needs a stable name on the wire: add `#[message(type = \"order.place\")]`";
        check_error("struct PlaceOrder { order: String }", "PlaceOrder", text);
        let attribute = "#[message(entity = order)]";
        check_error(&format!("{attribute} struct PlaceOrder {{ order: String }}"), attribute, text);
        check_error("#[message()] struct T;", "#[message()]", text);
    }

    #[test]
    fn a_name_that_is_empty_or_holds_white_space_is_refused() {
        let empty = "the name on the wire is empty; write `order.place`";
        check_error(r#"#[message(type = "")] struct T;"#, r#""""#, empty);
        let space = "the name on the wire contains white space; write it as `order.place`";
        for name in [r#""place order""#, r#"" ""#, r#""t\n""#, r#""t\0""#] {
            check_error(&format!("#[message(type = {name})] struct T;"), name, space);
        }
    }

    #[test]
    fn options_that_are_unknown_or_given_twice_are_refused() {
        let unknown = "unknown option; there are `type`, `entity`, `ordered` and `crate`";
        for option in ["name", "Type", "message::ty"] {
            check_error(&format!("#[message({option} = \"t\")] struct T;"), option, unknown);
        }
        let twice = "this option is given twice; keep one";
        let source = r#"#[message(type = "t", ordered, ordered)] struct T;"#;
        check_error(source, "ordered", twice);
        let source = r#"#[message(type = "t")] #[message(type = "t")] struct T;"#;
        check_error(source, r#"type = "t""#, twice);
    }

    #[test]
    fn options_in_a_wrong_form_are_refused() {
        let unquoted = "write the field without quotes: `entity = order`";
        let cases = [
            ("type", ")", "expected `=`"),
            ("type = order", "order", "expected string literal"),
            (r#"entity = "order""#, r#""order""#, unquoted),
            ("entity = line.", ")", "unexpected end of input, expected identifier or integer"),
        ];
        for (option, place, text) in cases {
            check_error(&format!("#[message({option})] struct T;"), place, text);
        }
    }

    #[test]
    fn order_without_an_entity_is_refused() {
        let text = "messages keep their order per entity: add `entity = …`, or leave `ordered` out";
        check_error(r#"#[message(type = "t", ordered)] struct T;"#, "ordered", text);
    }

    #[test]
    fn an_enum_with_an_entity_is_refused() {
        let text = "only a struct can name an entity: put the enum into a struct, next to the field \
                    with the key";
        check_error(r#"#[message(type = "t", entity = a.b)] enum T { A }"#, "a.b", text);
    }

    #[test]
    fn generics_and_unions_are_refused() {
        let text = "a message cannot be generic, since one name on the wire means one type: write a \
                    struct for each";
        check_error(r#"#[message(type = "t")] struct T<'a, U>(&'a U);"#, "'a, U", text);
        let text = "a union cannot be a message: write a struct or an enum";
        check_error(r#"#[message(type = "t")] union T { a: u8 }"#, "union", text);
    }
}
