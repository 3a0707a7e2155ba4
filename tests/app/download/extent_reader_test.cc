// The content of files out of chunks, plain and sealed, from stores that lie, damage and cut.
#include "app/download/extent_reader.hh"

#include "btrfs/index/catalogue.hh"
#include "tests/app/download/stored_chain.hh"
#include "tests/app/support.hh"
#include "tests/btrfs/index/support.hh"
#include "tests/engine/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/bent_store.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"
#include "tests/support/real_btrfs.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using namespace bts3::btrfs::index::testing;
using btrfs::index::extent;
using btrfs::index::stream_range;
using bts3::testing::bent_store;
using bts3::testing::digest_of;
using bts3::testing::error_text;
using bts3::testing::memory_store;
using bts3::testing::sealed_backup;

namespace {

struct scene : testing::stored_chain {
  // Of each file: its content, or nullopt where an extent could not be had.
  engine::result<std::map<std::string, std::optional<std::string>>> read(
      const std::vector<std::string>& names, bool forgive = false) {
    std::map<std::string, std::optional<std::string>> made;
    extent_list wanted;
    std::vector<std::string*> into;
    std::vector<std::string> whose;
    std::vector<stream_range> places;
    for (const std::string& name : names) {
      made[name] = std::string(what.files[name].size(), '\0');
      for (const extent& one : extents_of(name)) {
        wanted.push_back(one);
        into.push_back(&*made[name]);
        whose.push_back(name);
        places.push_back(*btrfs::index::command_of(one, 2));
      }
    }
    auto located = loop->run(all_ranges->locate(places, forgive));
    if (!located) {
      return located.error();
    }
    extent_reader reader(with, *all_ranges);
    std::mutex one_at_a_time;
    auto take = [&](std::size_t index, std::span<const std::byte> bytes) {
      const std::lock_guard lock(one_at_a_time);
      BOOST_REQUIRE(bytes.size() == wanted[index].bytes);
      std::memcpy(into[index]->data() + wanted[index].offset, bytes.data(), bytes.size());
      return engine::ok();
    };
    auto outcomes = loop->run(reader.read(wanted, take));
    damaged = reader.damaged();
    if (!outcomes) {
      return outcomes.error();
    }
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if ((*outcomes)[i]) {
        BOOST_TEST(((*outcomes)[i]->why == engine::reason::integrity));
        made[whose[i]].reset();
      }
    }
    return made;
  }
  std::vector<std::string> all_names() {
    std::vector<std::string> names;
    for (const auto& [name, text] : what.files) {
      names.push_back(name);
    }
    return names;
  }
  void check_all() {
    ranges();
    const auto made = read(all_names());
    BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
    for (const auto& [name, text] : *made) {
      BOOST_REQUIRE(text.has_value());
      BOOST_TEST((*text == what.files[name]), name);
    }
  }

  std::uint64_t damaged = 0;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(extent_reader_suite, scene)

BOOST_AUTO_TEST_CASE(files_come_out_of_plain_chunks_as_they_were) {
  put_plain();
  check_all();
  BOOST_TEST(damaged == 0);
}

BOOST_AUTO_TEST_CASE(files_come_out_of_sealed_chunks_as_they_were) {
  put_sealed();
  check_all();
  BOOST_TEST(damaged == 0);
}

BOOST_AUTO_TEST_CASE(a_file_costs_little_more_than_its_own_bytes) {
  for (const bool sealed : {false, true}) {
    scene one;
    sealed ? one.put_sealed() : one.put_plain();
    one.ranges();
    const auto made = one.read({"large"});
    BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
    BOOST_TEST((*made->at("large") == one.what.files["large"]));
    const std::uint64_t size = one.what.files["large"].size();
    BOOST_TEST(one.asked() >= size);
    BOOST_TEST(one.asked() <= 2 * size);
    one.store.gets.clear();
    BOOST_REQUIRE(one.read({"small7"}));
    BOOST_TEST(one.store.gets.size() <= 4U);
    BOOST_TEST(one.asked() <= 2 * 65552 + 2 * 528);
  }
}

BOOST_AUTO_TEST_CASE(only_chunks_that_hold_what_is_wanted_are_asked_for) {
  put_plain();
  ranges();
  BOOST_REQUIRE(read({"small0"}));
  BOOST_TEST(objects.count("HeadObject") == 1U);
  BOOST_TEST(store.gets.size() == 1U);
}

BOOST_AUTO_TEST_CASE(bytes_that_are_wrong_once_are_fetched_again_on_a_new_connection) {
  for (const bool sealed : {false, true}) {
    scene one;
    sealed ? one.put_sealed() : one.put_plain();
    one.store.after = [](const s3::get_request& request, std::size_t number) {
      if (number == 1) {
        request.into[request.into.size() / 2] ^= std::byte{1};
      }
    };
    one.check_all();
    BOOST_TEST(one.damaged == 1);
    BOOST_TEST(std::any_of(one.store.gets.begin(), one.store.gets.end(),
                           [](const s3::get_request& get) { return get.fresh_connection; }));
  }
}

BOOST_AUTO_TEST_CASE(a_byte_that_stays_wrong_costs_the_files_that_need_it) {
  for (const bool sealed : {false, true}) {
    scene one;
    sealed ? one.put_sealed() : one.put_plain();
    // In the middle of what small20 holds.
    const extent hit = one.extents_of("small20").front();
    const auto places = planner::stream_places::of(one.chain[0].value);
    const auto place = places->find(hit.data + hit.data_bytes / 2, 1)->front();
    one.spoil(place.chunk, place.offset + place.skip);
    one.ranges();
    const auto made = one.read(one.all_names());
    BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
    std::size_t lost = 0;
    for (const auto& [name, text] : *made) {
      if (text) {
        BOOST_TEST((*text == one.what.files[name]), name);
      } else {
        ++lost;
      }
    }
    BOOST_TEST(!made->at("small20").has_value());
    // A sealed segment has 64 KiB, into which some ten of them fit.
    BOOST_TEST(lost >= 1U);
    BOOST_TEST(lost <= (sealed ? 20U : 1U));
  }
}

BOOST_AUTO_TEST_CASE(a_chunk_that_is_missing_or_cut_is_damage_where_that_is_forgiven) {
  for (const bool gone : {false, true}) {
    scene one;
    one.put_plain();
    const std::string key = one.chain[0].value.chunks[1].key;
    if (gone) {
      one.objects.erase(key);
    } else {
      one.objects.put(key, one.objects.find(key)->body.substr(1));
    }
    one.ranges();
    const auto refused = one.read(one.all_names());
    BOOST_REQUIRE(!refused);
    BOOST_TEST((refused.error().why == engine::reason::integrity), error_text(refused));
    one.ranges();
    const auto made = one.read(one.all_names(), true);
    BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
    BOOST_TEST(!made->at("large").has_value());
    BOOST_TEST((made->at("small0") == std::optional(one.what.files["small0"])));
  }
}

BOOST_AUTO_TEST_CASE(parts_of_another_place_do_not_open) {
  put_sealed();
  // Two parts of a chunk have changed places.
  const std::string key = chain[0].value.chunks[0].key;
  const std::string body = objects.find(key)->body;
  objects.put(key, body.substr(testing::part_bytes) + body.substr(0, testing::part_bytes));
  ranges();
  const auto made = read({"small0"});
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  BOOST_TEST(!made->at("small0").has_value());
}

BOOST_AUTO_TEST_CASE(a_chunk_that_is_replaced_meanwhile_ends_the_reading) {
  put_plain();
  ranges();
  store.before = [&](const s3::get_request&, std::size_t number) {
    if (number == 1) {
      spoil(0, 100);
    }
  };
  const auto made = read({"small0"});
  BOOST_REQUIRE(!made);
  BOOST_TEST(made.error().text().find("replaced") != std::string::npos, error_text(made));
}

BOOST_AUTO_TEST_CASE(an_error_of_the_store_is_no_damage) {
  put_plain();
  ranges();
  objects.judge_by([](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    return call.verb == "GetObject" ? std::optional(memory_store::denied(call.key)) : std::nullopt;
  });
  const auto made = read(all_names());
  BOOST_REQUIRE(!made);
  BOOST_TEST((made.error().why == engine::reason::access));
}

BOOST_AUTO_TEST_CASE(extents_that_no_stream_has_are_damage_and_no_request) {
  put_plain();
  chain_ranges& from = ranges();
  extent one = extents_of("small0").front();
  one.command += UINT64_MAX / 2;
  one.data += UINT64_MAX / 2;
  extent other = extents_of("small0").front();
  other.data_bytes = UINT64_MAX;
  extent_reader reader(with, from);
  const auto outcomes = loop->run(reader.read(
      {one, other}, [](std::size_t, std::span<const std::byte>) -> engine::result<void> {
        BOOST_ERROR("it was given out");
        return engine::ok();
      }));
  BOOST_REQUIRE(outcomes);
  BOOST_TEST((*outcomes)[0].has_value());
  BOOST_TEST((*outcomes)[1].has_value());
  BOOST_TEST(store.gets.empty());
}

BOOST_AUTO_TEST_CASE(who_takes_can_end_the_reading) {
  put_plain();
  ranges();
  BOOST_REQUIRE(read({"small0"}));
  chain_ranges& from = ranges();
  BOOST_REQUIRE(
      loop->run(from.locate({*btrfs::index::command_of(extents_of("small0")[0], 2)}, false)));
  extent_reader reader(with, from);
  const auto outcomes = loop->run(reader.read(
      extents_of("small0"), [](std::size_t, std::span<const std::byte>) -> engine::result<void> {
        return engine::system_error(ENOSPC, "writing");
      }));
  BOOST_REQUIRE(!outcomes);
  BOOST_TEST(outcomes.error().status == ENOSPC);
}

BOOST_AUTO_TEST_CASE(with_whole_parts_each_is_read_once_and_files_are_as_they_were) {
  for (const bool sealed : {false, true}) {
    scene one;
    sealed ? one.put_sealed() : one.put_plain();
    one.tell_states(sealed ? testing::part_bytes : 64 * 1024);
    one.settings.s3.concurrency = 2;  // so that there are more parts than places for them
    one.ranges().verify_parts();
    const auto made = one.read(one.all_names());
    BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
    for (const auto& [name, text] : *made) {
      BOOST_REQUIRE(text.has_value());
      BOOST_TEST((*text == one.what.files[name]), name);
    }
    std::uint64_t whole = 0;
    for (const chain_link& link : one.chain) {
      for (const planner::chunk_record& chunk : link.value.chunks) {
        whole += chunk.size;
      }
    }
    BOOST_TEST(one.asked() <= whole);
    BOOST_TEST(one.damaged == 0);
    // What it takes is told before.
    std::vector<stream_range> wanted;
    for (const extent& each : one.extents_of("small7")) {
      wanted.push_back(*btrfs::index::command_of(each, 2));
    }
    std::uint64_t told = 0;
    for (const chunk_use& use : one.all_ranges->uses_of(wanted)) {
      told += use.bytes;
    }
    one.ranges().verify_parts();
    one.store.gets.clear();
    BOOST_REQUIRE(one.read({"small7"}));
    BOOST_TEST(one.asked() == told);
  }
}

// Whoever can write to the bucket can write the checksum, too.
BOOST_AUTO_TEST_CASE(with_whole_parts_what_was_put_in_another_s_place_is_damage) {
  put_plain();
  tell_states(64 * 1024);
  const std::string another(what.files["small20"].size(), 'x');
  const std::string there = write_data(2, "small20", 0, what.files["small20"]);
  const std::size_t at = what.streams[0].find(there);
  BOOST_REQUIRE(at != std::string::npos);
  std::string stream = what.streams[0];
  stream.replace(at, there.size(), write_data(2, "small20", 0, another));
  for (std::size_t i = 0; i < chain[0].value.chunks.size(); ++i) {
    objects.put(chain[0].value.chunks[i].key, stream.substr(i * 300'000, 300'000));
  }
  ranges();
  const auto believed = read({"small20"});
  BOOST_REQUIRE_MESSAGE(believed.has_value(), error_text(believed));
  BOOST_TEST((believed->at("small20") == std::optional(another)));
  ranges().verify_parts();
  const auto made = read(all_names());
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  BOOST_TEST(!made->at("small20").has_value());
  std::size_t lost = 0;
  for (const auto& [name, text] : *made) {
    BOOST_TEST((!text || *text == what.files[name]), name);
    lost += text ? 0 : 1;
  }
  BOOST_TEST(lost < made->size() / 2);  // those of one part
  // It was fetched three times, and everybody else was told at once.
  std::map<std::pair<std::string, std::uint64_t>, int> times;
  for (const s3::get_request& one : store.gets) {
    ++times[{one.key.str(), one.range ? one.range->offset : 0}];
  }
  int most = 0;
  for (const auto& [place, count] : times) {
    most = std::max(most, count);
  }
  BOOST_TEST(most <= 4);
}

BOOST_AUTO_TEST_CASE(a_part_that_is_wrong_once_is_fetched_again_on_a_new_connection) {
  put_plain();
  tell_states(64 * 1024);
  store.after = [](const s3::get_request& request, std::size_t number) {
    if (number == 1) {
      request.into[request.into.size() / 2] ^= std::byte{1};
    }
  };
  ranges().verify_parts();
  const auto made = read({"small3"});
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  BOOST_TEST((made->at("small3") == std::optional(what.files["small3"])));
  BOOST_TEST(store.gets.size() == 2U);
  BOOST_TEST(store.gets.back().fresh_connection);
}

BOOST_AUTO_TEST_CASE(parts_of_which_nothing_is_recorded_are_refused_before_anything_is_read) {
  put_plain();
  ranges().verify_parts();
  const auto made = read({"small3"});
  BOOST_REQUIRE(!made);
  BOOST_TEST((made.error().why == engine::reason::configuration));
  BOOST_TEST(made.error().text().find("--verify-parts") != std::string::npos, error_text(made));
  BOOST_TEST(store.gets.empty());
}

BOOST_AUTO_TEST_SUITE_END()
