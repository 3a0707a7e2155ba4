// What every object_store must do, whatever is behind it.
//
// Each case runs against the memory store, against s3_client with curl_transport and the scripted
// server, and, when the environment names one, against a real endpoint as well:
// BTS3_TEST_S3_ENDPOINT (a URL), BTS3_TEST_S3_BUCKET, BTS3_TEST_S3_REGION (us-east-1 when unset),
// BTS3_TEST_S3_CA_BUNDLE (optional), and credentials as the program finds them. Everything there
// happens under the prefix conformance-<pid>/ and is removed afterwards.
#include "s3/http/curl_transport.hh"
#include "tests/s3/verbs/store_support.hh"
#include "tests/support/memory_store.hh"

#include <libdeflate.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <optional>

using namespace bts3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;

namespace {

constexpr std::size_t part_bytes_min = std::size_t{5} << 20;

// One store under test; keys are made under a prefix of their own.
class subject {
 public:
  subject(engine::reactor& loop, s3::object_store& store, std::string prefix)
      : store(store), _loop(loop), _prefix(std::move(prefix)) {}

  template <typename T>
  T run(engine::task<T> work) {
    return _loop.run(std::move(work));
  }

  [[nodiscard]] s3::object_key key(const std::string& name) const {
    return s3::object_key(_prefix + name);
  }

  s3::etag put(const std::string& name, const std::string& body) {
    auto tag = run(store.put_object(s3::put_request(key(name), bytes_of(body)), {}));
    BOOST_REQUIRE_MESSAGE(tag.has_value(), error_text(tag));
    return *tag;
  }

  s3::upload_id create(const std::string& name, bool with_crc32) {
    s3::write_options options;
    options.checksum_crc32 = with_crc32;
    auto id = run(store.create_multipart_upload(key(name), options, {}));
    BOOST_REQUIRE_MESSAGE(id.has_value(), error_text(id));
    return id->id;
  }

  s3::completed_part upload(const std::string& name, const s3::upload_id& id,
                            s3::part_number number, const std::string& body, bool with_crc32) {
    s3::upload_part_request request(key(name), id, number, bytes_of(body));
    if (with_crc32) {
      request.digests.crc32 = libdeflate_crc32(0, body.data(), body.size());
    }
    const std::optional<std::uint32_t> crc32 = request.digests.crc32;
    auto tag = run(store.upload_part(std::move(request), {}));
    BOOST_REQUIRE_MESSAGE(tag.has_value(), error_text(tag));
    BOOST_TEST(!tag->empty());
    return {number, *tag, crc32};
  }

  std::string text(const std::string& name) {
    auto got = run(store.get_object_text(key(name), 64 << 20, {}));
    BOOST_REQUIRE_MESSAGE(got.has_value(), error_text(got));
    return got->body;
  }

  void remove_everything() {
    auto uploads = run(store.list_multipart_uploads(_prefix, {}));
    BOOST_REQUIRE_MESSAGE(uploads.has_value(), error_text(uploads));
    for (const s3::listed_upload& upload : *uploads) {
      BOOST_TEST(run(store.abort_multipart_upload(upload.key, upload.id, {})).has_value());
    }
    auto objects = run(store.list_objects(s3::list_request(_prefix), {}));
    BOOST_REQUIRE_MESSAGE(objects.has_value(), error_text(objects));
    for (const s3::listed_object& object : objects->objects) {
      BOOST_TEST(run(store.delete_object(object.key, {})).has_value());
    }
  }

  s3::object_store& store;

 private:
  engine::reactor& _loop;
  std::string _prefix;
};

std::optional<std::string> variable(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

void on_a_real_endpoint(const std::string& url, const std::function<void(subject&)>& check) {
  const auto loop = engine::testing::make_reactor();
  std::signal(SIGPIPE, SIG_IGN);
  s3::curl_options options;
  options.ca_bundle = variable("BTS3_TEST_S3_CA_BUNDLE").value_or("");
  auto transport = s3::curl_transport::create(*loop, options);
  BOOST_REQUIRE_MESSAGE(transport.has_value(), error_text(transport));
  const auto who = s3::environment_keys(variable);
  BOOST_REQUIRE_MESSAGE(who.has_value(), error_text(who));
  s3::client_options client_options;
  client_options.bucket = s3::bucket_name(variable("BTS3_TEST_S3_BUCKET").value_or("bucket"));
  client_options.region = variable("BTS3_TEST_S3_REGION").value_or("us-east-1");
  auto where = s3::make_endpoint(url, client_options.region, client_options.bucket,
                                 s3::addressing::automatic);
  BOOST_REQUIRE_MESSAGE(where.has_value(), error_text(where));
  client_options.where = std::move(*where);
  const engine::system_clock_source clock;
  engine::testing::recording_log log;
  s3::s3_client client(**transport, *who, clock, log, client_options);
  subject under_test(*loop, client, "conformance-" + std::to_string(::getpid()) + "/");
  under_test.remove_everything();
  check(under_test);
  under_test.remove_everything();
  loop->run((*transport)->close());
}

void on_every_store(const std::function<void(subject&)>& check) {
  BOOST_TEST_CONTEXT("memory store") {
    const auto loop = engine::testing::make_reactor();
    memory_store store(*loop);
    subject under_test(*loop, store, "some/prefix/");
    check(under_test);
  }
  BOOST_TEST_CONTEXT("scripted server") {
    scripted_s3_options options;
    options.list_page_max = 3;  // so that every listing has pages
    store_wire net(options);
    subject under_test(*net.loop, net.client, "some/prefix/");
    check(under_test);
  }
  if (const auto url = variable("BTS3_TEST_S3_ENDPOINT")) {
    BOOST_TEST_CONTEXT("endpoint " << *url) {
      on_a_real_endpoint(*url, check);
    }
  }
}

template <typename T>
void check_not_found(const engine::result<T>& outcome) {
  BOOST_REQUIRE(!outcome.has_value());
  BOOST_TEST((outcome.error().what_now == disposition::not_found));
}

std::span<std::byte> room_in(std::string& text) {
  return std::as_writable_bytes(std::span(text.data(), text.size()));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(object_store_conformance)

BOOST_AUTO_TEST_CASE(an_object_is_read_back_as_it_was_put) {
  on_every_store([](subject& it) {
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}, std::size_t{2'000'003}}) {
      const std::string body = random_text(bytes);
      const s3::etag tag = it.put("key", body);
      std::string back(bytes, '\0');
      const auto got =
          it.run(it.store.get_object(s3::get_request(it.key("key"), room_in(back)), {}));
      BOOST_REQUIRE_MESSAGE(got.has_value(), error_text(got));
      BOOST_TEST(*got == bytes);
      BOOST_TEST((back == body));
      const auto info = it.run(it.store.head_object(it.key("key"), {}));
      BOOST_REQUIRE_MESSAGE(info.has_value(), error_text(info));
      BOOST_TEST(info->size == bytes);
      BOOST_TEST(info->tag.str() == tag.str());
    }
  });
}

BOOST_AUTO_TEST_CASE(an_empty_object_exists) {
  on_every_store([](subject& it) {
    it.put("empty", "");
    BOOST_TEST(it.text("empty").empty());
    const auto info = it.run(it.store.head_object(it.key("empty"), {}));
    BOOST_REQUIRE_MESSAGE(info.has_value(), error_text(info));
    BOOST_TEST(info->size == 0U);
  });
}

BOOST_AUTO_TEST_CASE(putting_again_replaces) {
  on_every_store([](subject& it) {
    it.put("key", "one");
    it.put("key", "two");
    BOOST_TEST(it.text("key") == "two");
  });
}

BOOST_AUTO_TEST_CASE(keys_keep_every_character) {
  on_every_store([](subject& it) {
    const std::string names[] = {
        "a b",       "plus+sign", "per%cent",       "per%20cent", "a//b",  "dots/..",    "tilde~",
        "umlaut-äö", "q?x=1&y=2", "semi;colon:at@", "(par)!*'",   "hash#", "amp&lt<gt>", "equals="};
    for (const std::string& name : names) {
      it.put(name, name);
    }
    for (const std::string& name : names) {
      BOOST_TEST(it.text(name) == name);
    }
    const auto listed = it.run(it.store.list_objects(s3::list_request(it.key("").str()), {}));
    BOOST_REQUIRE_MESSAGE(listed.has_value(), error_text(listed));
    BOOST_TEST(listed->objects.size() == std::size(names));
    for (const std::string& name : names) {
      const bool found =
          std::any_of(listed->objects.begin(), listed->objects.end(),
                      [&](const s3::listed_object& object) { return object.key == it.key(name); });
      BOOST_TEST(found, name);
    }
  });
}

BOOST_AUTO_TEST_CASE(a_missing_object_is_not_found_and_deleting_it_succeeds) {
  on_every_store([](subject& it) {
    std::string back(10, '\0');
    check_not_found(it.run(it.store.head_object(it.key("none"), {})));
    check_not_found(it.run(it.store.get_object_text(it.key("none"), 100, {})));
    check_not_found(
        it.run(it.store.get_object(s3::get_request(it.key("none"), room_in(back)), {})));
    BOOST_TEST(it.run(it.store.delete_object(it.key("none"), {})).has_value());
    it.put("some", "body");
    BOOST_TEST(it.run(it.store.delete_object(it.key("some"), {})).has_value());
    check_not_found(it.run(it.store.head_object(it.key("some"), {})));
  });
}

BOOST_AUTO_TEST_CASE(ranges_are_answered_exactly) {
  on_every_store([](subject& it) {
    const std::string body = random_text(100'000);
    const s3::etag tag = it.put("key", body);
    const std::pair<std::uint64_t, std::uint64_t> ranges[] = {
        {0, 1}, {0, 100'000}, {99'999, 1}, {12'345, 6'789}};
    for (const auto& [offset, length] : ranges) {
      std::string back(length, '\0');
      s3::get_request request(it.key("key"), room_in(back));
      request.range.emplace(offset, length);
      request.must_match = tag;
      const auto got = it.run(it.store.get_object(std::move(request), {}));
      BOOST_REQUIRE_MESSAGE(got.has_value(), error_text(got));
      BOOST_TEST(*got == length);
      BOOST_TEST((back == body.substr(offset, length)));
    }
    std::string back(10, '\0');
    s3::get_request beyond(it.key("key"), room_in(back));
    beyond.range.emplace(99'995, 10);
    BOOST_TEST(!it.run(it.store.get_object(std::move(beyond), {})).has_value());
  });
}

BOOST_AUTO_TEST_CASE(reading_another_version_than_expected_is_a_precondition_error) {
  on_every_store([](subject& it) {
    const s3::etag tag = it.put("key", "one");
    it.put("key", "two");
    std::string back(3, '\0');
    s3::get_request request(it.key("key"), room_in(back));
    request.must_match = tag;
    const auto got = it.run(it.store.get_object(std::move(request), {}));
    BOOST_REQUIRE(!got.has_value());
    BOOST_TEST((got.error().why == reason::precondition));
  });
}

BOOST_AUTO_TEST_CASE(a_text_has_its_limit) {
  on_every_store([](subject& it) {
    it.put("key", std::string(1000, 'x'));
    const auto fits = it.run(it.store.get_object_text(it.key("key"), 1000, {}));
    BOOST_REQUIRE_MESSAGE(fits.has_value(), error_text(fits));
    BOOST_TEST(fits->body.size() == 1000U);
    BOOST_TEST(!fits->tag.empty());
    BOOST_TEST(!it.run(it.store.get_object_text(it.key("key"), 999, {})).has_value());
  });
}

BOOST_AUTO_TEST_CASE(an_object_is_created_only_where_none_is) {
  on_every_store([](subject& it) {
    const std::string body = "body";
    s3::put_request request(it.key("key"), bytes_of(body));
    request.condition = s3::precondition::absent();
    BOOST_TEST(it.run(it.store.put_object(request, {})).has_value());
    const auto again = it.run(it.store.put_object(request, {}));
    BOOST_REQUIRE(!again.has_value());
    BOOST_TEST((again.error().why == reason::precondition));
  });
}

// Quoted or not, one of the two is understood (Ceph 16: only the unquoted form).
BOOST_AUTO_TEST_CASE(an_object_is_replaced_only_when_it_is_the_expected_one) {
  on_every_store([](subject& it) {
    const s3::etag first = it.put("key", "first");
    const s3::etag second = it.put("key", "second");
    const std::string body = "third";
    int succeeded = 0;
    for (const bool unquoted : {false, true}) {
      s3::put_request stale(it.key("key"), bytes_of(body));
      stale.condition = s3::precondition::matches(first);
      stale.condition.unquoted = unquoted;
      const auto refused = it.run(it.store.put_object(stale, {}));
      BOOST_REQUIRE(!refused.has_value());
      BOOST_TEST((refused.error().why == reason::precondition));
    }
    BOOST_TEST(it.text("key") == "second");
    for (const bool unquoted : {false, true}) {
      it.put("key", "second");
      s3::put_request current(it.key("key"), bytes_of(body));
      current.condition = s3::precondition::matches(second);
      current.condition.unquoted = unquoted;
      succeeded += it.run(it.store.put_object(current, {})).has_value() ? 1 : 0;
    }
    BOOST_TEST(succeeded >= 1);
  });
}

BOOST_AUTO_TEST_CASE(listings_are_complete_and_in_order) {
  on_every_store([](subject& it) {
    std::vector<std::string> names;
    for (int i = 10; i < 27; ++i) {
      names.push_back("list/" + std::to_string(i));
      it.put(names.back(), names.back());
    }
    it.put("other", "x");
    const auto listed = it.run(it.store.list_objects(s3::list_request(it.key("list/").str()), {}));
    BOOST_REQUIRE_MESSAGE(listed.has_value(), error_text(listed));
    BOOST_REQUIRE(listed->objects.size() == names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      BOOST_TEST(listed->objects[i].key.str() == it.key(names[i]).str());
      BOOST_TEST(listed->objects[i].size == names[i].size());
      BOOST_TEST(!listed->objects[i].tag.empty());
    }
    const auto none = it.run(it.store.list_objects(s3::list_request(it.key("no/").str()), {}));
    BOOST_REQUIRE_MESSAGE(none.has_value(), error_text(none));
    BOOST_TEST(none->objects.empty());
  });
}

BOOST_AUTO_TEST_CASE(a_delimiter_folds_keys_into_prefixes) {
  on_every_store([](subject& it) {
    for (const char* name : {"d/a/1", "d/a/2", "d/b/1", "d/c", "d/e/1", "d/f/1", "d/z"}) {
      it.put(name, "x");
    }
    s3::list_request request(it.key("d/").str());
    request.delimiter = "/";
    const auto listed = it.run(it.store.list_objects(request, {}));
    BOOST_REQUIRE_MESSAGE(listed.has_value(), error_text(listed));
    std::string seen;
    for (const s3::listed_object& object : listed->objects) {
      seen += object.key.str().substr(it.key("").str().size()) + ' ';
    }
    for (const std::string& prefix : listed->common_prefixes) {
      seen += prefix.substr(it.key("").str().size()) + ' ';
    }
    BOOST_TEST(seen == "d/c d/z d/a/ d/b/ d/e/ d/f/ ");
  });
}

BOOST_AUTO_TEST_CASE(a_listing_has_its_limit) {
  on_every_store([](subject& it) {
    for (int i = 0; i < 5; ++i) {
      it.put("limit/" + std::to_string(i), "x");
    }
    s3::list_request request(it.key("limit/").str());
    request.objects_max = 5;
    BOOST_TEST(it.run(it.store.list_objects(request, {})).has_value());
    request.objects_max = 4;
    BOOST_TEST(!it.run(it.store.list_objects(request, {})).has_value());
  });
}

BOOST_AUTO_TEST_CASE(parts_become_one_object) {
  on_every_store([](subject& it) {
    for (const bool with_crc32 : {true, false}) {
      const s3::upload_id id = it.create("whole", with_crc32);
      std::string whole;
      std::vector<s3::completed_part> parts;
      for (const s3::part_number number : {1U, 2U, 3U}) {
        const std::string body = random_text(number < 3 ? part_bytes_min : 100, number);
        whole += body;
        parts.push_back(it.upload("whole", id, number, body, with_crc32));
      }
      const auto tag =
          it.run(it.store.complete_multipart_upload(it.key("whole"), id, std::move(parts), {}));
      BOOST_REQUIRE_MESSAGE(tag.has_value(), error_text(tag));
      BOOST_TEST((it.text("whole") == whole));
    }
  });
}

BOOST_AUTO_TEST_CASE(a_part_put_again_replaces_the_first) {
  on_every_store([](subject& it) {
    const s3::upload_id id = it.create("whole", false);
    it.upload("whole", id, 1, "wrong", false);
    std::vector<s3::completed_part> parts;
    parts.push_back(it.upload("whole", id, 1, "right", false));
    BOOST_TEST(
        it.run(it.store.complete_multipart_upload(it.key("whole"), id, parts, {})).has_value());
    BOOST_TEST(it.text("whole") == "right");
  });
}

BOOST_AUTO_TEST_CASE(open_uploads_and_their_parts_can_be_listed) {
  on_every_store([](subject& it) {
    std::vector<s3::upload_id> ids;
    for (int i = 0; i < 5; ++i) {
      ids.push_back(it.create("open/" + std::to_string(i), false));
    }
    ids.push_back(it.create("open/0", false));
    it.create("other", false);
    const auto open = it.run(it.store.list_multipart_uploads(it.key("open/").str(), {}));
    BOOST_REQUIRE_MESSAGE(open.has_value(), error_text(open));
    BOOST_TEST(open->size() == ids.size());
    for (const s3::upload_id& id : ids) {
      const bool found = std::any_of(open->begin(), open->end(),
                                     [&](const auto& upload) { return upload.id == id; });
      BOOST_TEST(found, id.str());
    }
    for (const s3::part_number number : {1U, 2U, 3U, 7U, 9U}) {
      it.upload("open/0", ids[0], number, std::string(number, 'x'), false);
    }
    const auto parts = it.run(it.store.list_parts(it.key("open/0"), ids[0], {}));
    BOOST_REQUIRE_MESSAGE(parts.has_value(), error_text(parts));
    BOOST_REQUIRE(parts->size() == 5U);
    BOOST_TEST((*parts)[3].number == 7U);
    BOOST_TEST((*parts)[3].size == 7U);
    BOOST_TEST(!(*parts)[3].tag.empty());
  });
}

BOOST_AUTO_TEST_CASE(an_aborted_upload_is_gone_and_aborting_again_succeeds) {
  on_every_store([](subject& it) {
    const s3::upload_id id = it.create("whole", false);
    std::vector<s3::completed_part> parts;
    parts.push_back(it.upload("whole", id, 1, "body", false));
    for (int i = 0; i < 2; ++i) {
      const auto aborted = it.run(it.store.abort_multipart_upload(it.key("whole"), id, {}));
      BOOST_TEST(aborted.has_value(), error_text(aborted));
    }
    check_not_found(it.run(it.store.complete_multipart_upload(it.key("whole"), id, parts, {})));
    check_not_found(it.run(it.store.list_parts(it.key("whole"), id, {})));
    check_not_found(it.run(it.store.head_object(it.key("whole"), {})));
    const auto open = it.run(it.store.list_multipart_uploads(it.key("").str(), {}));
    BOOST_REQUIRE_MESSAGE(open.has_value(), error_text(open));
    BOOST_TEST(open->empty());
  });
}

// Stores without that verb refuse it, each in its own words.
BOOST_AUTO_TEST_CASE(what_is_not_archived_is_never_said_to_thaw) {
  on_every_store([](subject& it) {
    it.put("key", "body");
    const auto outcome =
        it.run(it.store.restore_object(it.key("key"), 1, s3::retrieval_tier::standard, {}));
    if (outcome) {
      BOOST_TEST((*outcome == s3::restore_outcome::not_archived));
    } else {
      BOOST_TEST((outcome.error().what_now == disposition::fail));
    }
    BOOST_TEST(it.text("key") == "body");
  });
}

BOOST_AUTO_TEST_CASE(a_stopped_request_is_cancelled) {
  on_every_store([](subject& it) {
    engine::stop_source stop;
    stop.request_stop();
    const std::string body = "body";
    const auto put =
        it.run(it.store.put_object(s3::put_request(it.key("key"), bytes_of(body)), stop.token()));
    BOOST_REQUIRE(!put.has_value());
    BOOST_TEST((put.error().what_now == disposition::cancelled));
    const auto head = it.run(it.store.head_object(it.key("key"), stop.token()));
    BOOST_REQUIRE(!head.has_value());
    BOOST_TEST((head.error().what_now == disposition::cancelled));
  });
}

BOOST_AUTO_TEST_SUITE_END()
