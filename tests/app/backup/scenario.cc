#include "tests/app/backup/scenario.hh"

#include <set>
#include <thread>

namespace bts3::testing {

using namespace std::chrono_literals;

namespace {

const char* name_of(s3_verb verb) {
  switch (verb) {
    case s3_verb::put_object:
      return "put";
    case s3_verb::get_object:
      return "get";
    case s3_verb::head_object:
      return "head";
    case s3_verb::delete_object:
      return "delete";
    case s3_verb::list_objects:
      return "list";
    case s3_verb::create_upload:
      return "create";
    case s3_verb::upload_part:
      return "part";
    case s3_verb::complete_upload:
      return "complete";
    case s3_verb::abort_upload:
      return "abort";
    case s3_verb::list_parts:
      return "list_parts";
    case s3_verb::list_uploads:
      return "list_uploads";
    case s3_verb::any:
    case s3_verb::restore_object:
    case s3_verb::head_bucket:
    case s3_verb::other:
      break;
  }
  return "other";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

std::string text_of(const tally& counts) {
  std::string text;
  for (const auto& [verb, count] : counts) {
    text += count == 0 ? "" : (text.empty() ? "" : ", ") + verb + " " + std::to_string(count);
  }
  return text;
}

std::string text_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) {
    text += (text.empty() ? "" : ", ") + line;
  }
  return text;
}

tally with(tally counts, const tally& more) {
  for (const auto& [verb, count] : more) {
    counts[verb] += count;
  }
  return counts;
}

scripted_scene::scripted_scene(const scripted_s3_options& options) : server(options) {
  rig.settings.s3.endpoint_url = server.url();
  rig.settings.index.enabled = false;
}

tally scripted_scene::requests() const {
  tally counts;
  for (const recorded_request& one : server.requests()) {
    ++counts[name_of(one.verb)];
  }
  return counts;
}

bucket_contents scripted_scene::contents() const {
  bucket_contents there;
  there.objects = server.bodies("bucket");
  int number = 0;
  for (const auto& upload : server.open_uploads()) {
    std::set<unsigned>& parts = there.uploads[upload.key + " " + std::to_string(++number)];
    for (const auto& [part, state] : upload.parts) {
      parts.insert(part);
    }
  }
  return there;
}

std::string scripted_scene::server_text() const {
  const bucket_contents there = contents();
  std::string text = std::to_string(there.objects.size()) + " objects";
  for (const auto& [name, parts] : there.uploads) {
    text += "; open " + name.substr(name.find(".bin") - 1, 1) + ":";
    for (const unsigned part : parts) {
      text += " " + std::to_string(part);
    }
  }
  return text;
}

void scripted_scene::stop_at_stall(std::size_t count) {
  before = [this, count](engine::reactor& loop) {
    rig.helper = std::thread([this, count, &loop] {
      BOOST_REQUIRE(server.wait_for_stalls(count));
      loop.post([this] { rig.stop->request_stop(); });
    });
  };
}

void play(const scenario& row) {
  BOOST_TEST_CONTEXT(row.title) {
    const leak_check process;
    {
      scripted_scene here(row.options);
      row.arrange(here);
      const std::string outcome = here.rig.run_text(here.before);
      BOOST_REQUIRE(here.server.settle());
      BOOST_TEST(has(outcome, row.outcome), outcome);
      BOOST_TEST(here.rig.log.contains(row.logged));
      tally counted = here.requests();
      for (const auto& [verb, more] : row.at_most_more) {
        const int least = row.requests.contains(verb) ? row.requests.at(verb) : 0;
        if (counted[verb] >= least && counted[verb] <= least + more) {
          counted[verb] = least;
        }
      }
      BOOST_TEST(text_of(counted) == text_of(row.requests));
      BOOST_TEST(here.rig.journal_text() == row.journal);
      if (!row.server.empty()) {
        BOOST_TEST(here.server_text() == row.server);
      }
      if (!row.again.empty()) {
        here.server.clear_script();
        here.server.forget_requests();
        if (row.between) {
          row.between(here);
        }
        BOOST_TEST(here.rig.run_text() == "done");
        BOOST_REQUIRE(here.server.settle());
        BOOST_TEST(text_of(here.requests()) == text_of(row.again));
      }
      if (row.server.empty() || !row.again.empty()) {
        BOOST_TEST(here.rig.published_problem(here.contents()) == "");
      }
      BOOST_TEST(text_of(here.rig.left) == "");
    }
    BOOST_TEST(text_of(process.found()) == "");
  }
}

void warm_up() {
  static const bool warm = [] {
    scripted_s3_options options;
    options.enforce_part_minimum = false;
    scripted_scene here(options);
    BOOST_REQUIRE_EQUAL(here.rig.run_text(), "done");
    here.rig.settings.s3.endpoint_url = "http://nonexistent.invalid";
    here.rig.settings.s3.retry_for = 0ms;
    (void)here.rig.run_text();
    return true;
  }();
  BOOST_TEST(warm);
}

}  // namespace bts3::testing
