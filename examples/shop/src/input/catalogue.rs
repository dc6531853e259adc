//! What the shop sells at Christmas.

use serde::Serialize;

/// One product of the catalogue.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Product {
    /// Its stock code.
    pub(crate) sku: &'static str,
    /// What it is.
    pub(crate) description: &'static str,
    /// The price of one, in pence.
    pub(crate) unit_price_pence: i64,
}

/// All products.
#[rustfmt::skip]
pub(crate) const CATALOGUE: &[Product] = &[
    product("TREE-01", "Robin bauble, hand-painted", 450),
    product("TREE-02", "Glass icicles, box of twelve", 895),
    product("TREE-03", "Felt fox in a red scarf", 625),
    product("TREE-04", "Straw star, very large", 550),
    product("TREE-05", "Tin soldier with a missing drum", 375),
    product("TREE-06", "Angel for the top, slightly smug", 1_295),
    product("TREE-07", "Walnut mouse in its bed", 795),
    product("TREE-08", "Warm fairy lights, ten metres", 1_450),
    product("TABLE-01", "Six crackers with terrible jokes", 1_150),
    product("TABLE-02", "Linen runner, holly border", 2_400),
    product("TABLE-03", "Pudding bowl with lid, blue stripe", 1_850),
    product("TABLE-04", "Brass candle snuffer", 1_275),
    product("TABLE-05", "Beeswax candles, pair", 685),
    product("TABLE-06", "Gravy boat shaped like a goose", 2_250),
    product("TABLE-07", "Name cards with pressed ivy, ten", 525),
    product("TABLE-08", "Nutcracker with an opinion", 3_450),
    product("LARDER-01", "Plum pudding, fed since July", 1_695),
    product("LARDER-02", "Mulling spices in a muslin bag", 345),
    product("LARDER-03", "Gingerbread house to build", 1_850),
    product("LARDER-04", "Quince jelly", 475),
    product("LARDER-05", "Shortbread, tall tin", 995),
    product("LARDER-06", "Hot chocolate with orange, tin", 725),
    product("LARDER-07", "Sugar mice, white and pink", 280),
    product("LARDER-08", "Stollen with a marzipan heart", 1_375),
    product("WEAR-01", "Bobble hat, larger bobble", 1_650),
    product("WEAR-02", "Mittens on a string, child's", 950),
    product("WEAR-03", "Bed socks, cabled", 1_425),
    product("WEAR-04", "Jumper that lights up", 3_995),
    product("WEAR-05", "Tartan scarf, nearly too long", 2_150),
    product("WEAR-06", "Hot-water bottle in a bear suit", 1_995),
    product("PLAY-01", "Wooden sledge with brass bell", 5_900),
    product("PLAY-02", "Snow globe, village with one lit window", 1_750),
    product("PLAY-03", "Jigsaw, five hundred snowflakes", 1_495),
    product("PLAY-04", "Clockwork penguin", 1_125),
    product("PLAY-05", "Pocket kaleidoscope", 895),
    product("PLAY-06", "Marbles in a drawstring bag", 425),
    product("POST-01", "Advent calendar, no chocolate, only poems", 1_050),
    product("POST-02", "Letterpress cards, set of eight", 1_250),
    product("POST-03", "Wrapping paper, three sheets and string", 595),
    product("POST-04", "Gift tags already signed 'From the cat'", 325),
];

/// Keeps each product on one line.
const fn product(sku: &'static str, description: &'static str, unit_price_pence: i64) -> Product {
    Product { sku, description, unit_price_pence }
}
