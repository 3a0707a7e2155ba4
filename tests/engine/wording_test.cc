#include "engine/wording.hh"

#include "tests/engine/support.hh"
#include "tests/support/shown_setting.hh"

#include <set>
#include <string>

using namespace bts3::engine;
using bts3::testing::shown;

namespace {

std::string_view in_capitals(setting which) {
  return which == setting::region ? "REGION" : "ANOTHER";
}

// Puts back what was known before.
class named {
 public:
  explicit named(setting_names names) : _before(set_setting_names(names)) {}
  named(const named&) = delete;
  named& operator=(const named&) = delete;
  ~named() { set_setting_names(_before); }

 private:
  setting_names _before;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(wording_suite)

BOOST_AUTO_TEST_CASE(each_setting_has_words_of_its_own) {
  std::set<std::string> words;
  for (std::size_t i = 0; i < setting_count; ++i) {
    words.insert(shown(static_cast<setting>(i)));
  }
  BOOST_TEST(words.size() == setting_count);
  BOOST_TEST(!words.contains(""));
}

BOOST_AUTO_TEST_CASE(a_sentence_names_settings_as_the_process_does_when_it_becomes_text) {
  const wording sentence = "set " + wording(setting::region) + ", or correct " + setting::endpoint;
  BOOST_TEST(sentence.text() == "set the region, or correct the endpoint's URL");
  {
    const named capitals(&in_capitals);
    BOOST_TEST(sentence.text() == "set REGION, or correct ANOTHER");
  }
  BOOST_TEST(sentence.text() == "set the region, or correct the endpoint's URL");
}

BOOST_AUTO_TEST_CASE(text_that_looks_like_a_name_stays_as_it_is) {
  const named capitals(&in_capitals);
  wording sentence = std::string("bucket \"the region\" is in ");
  sentence += setting::region;
  sentence += sentence;
  const std::string text = sentence;
  BOOST_TEST(text ==
             "bucket \"the region\" is in REGION"
             "bucket \"the region\" is in REGION");
  BOOST_TEST(wording().text().empty());
}

BOOST_AUTO_TEST_SUITE_END()
