// As in the program, settings are named by their keys: what is said is what people read.
#include "app/config/setting_names.hh"

#include <boost/test/unit_test.hpp>

namespace {

struct settings_named_by_keys {
  settings_named_by_keys() { bts3::app::name_settings(bts3::app::named_as::keys); }
};

BOOST_GLOBAL_FIXTURE(settings_named_by_keys);

}  // namespace
