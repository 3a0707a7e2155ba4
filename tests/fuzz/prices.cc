// Tables of prices.
#include "app/prices/restore_prices.hh"

#include "tests/fuzz/input.hh"

FUZZ(one) {
  if (bts3::app::parse_prices(one.text(), "prices.json")) {
    one.accepted();
  }
}
