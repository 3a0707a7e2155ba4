// A store refuses one thing that is sent: each of them, in each way in which stores do that. The
// whole backup, and doctor, against a server that does.
//
// In every cell the backup either works without what is refused, or fails with the key that
// controls it in its message; doctor says the same, with the same key.
#include "app/doctor/doctor_store.hh"
#include "tests/app/backup/backup_rig.hh"
#include "tests/support/scripted_s3_server.hh"

using namespace bts3;
using namespace bts3::testing;

namespace {

constexpr std::size_t mebibyte = 1 << 20;

// How a store says no.
struct way {
  const char* name;
  std::function<scripted_action()> answer;
};

const std::vector<way>& ways() {
  static const std::vector<way> all = {
      {"400", [] { return scripted_action::answer(400, "InvalidArgument"); }},
      {"403 of the signature",
       [] { return scripted_action::answer(403, "SignatureDoesNotMatch"); }},
      {"405", [] { return scripted_action::answer(405, "MethodNotAllowed"); }},
      {"417", [] { return scripted_action::answer(417, "ExpectationFailed"); }},
      {"501", [] { return scripted_action::answer(501, "NotImplemented"); }},
      {"a page", [] { return scripted_action::page(400); }},
  };
  return all;
}

request_match with_header(const std::string& name, const std::string& value = {}) {
  request_match match(s3_verb::any, 1, 0);
  match.header = name;
  match.header_contains = value;
  return match;
}

// What is sent, and refused.
struct thing {
  const char* name;
  std::vector<request_match> refused;
  std::function<void(app::config&)> asked_for;  // empty: it is a default
  const char* key;                              // that a message names; empty: it works without
  bool tls = false;
  std::size_t part_bytes = backup_rig::part_bytes;
  const char* left_out = "";  // named by the one event
};

const std::vector<thing>& things() {
  static const std::vector<thing> all = {
      {"SSE",
       {with_header("x-amz-server-side-encryption")},
       [](app::config& to) { to.s3.sse = app::object_encryption::aes256; },
       "s3.sse"},
      {"KMS key",
       {with_header("x-amz-server-side-encryption-aws-kms-key-id")},
       [](app::config& to) {
         to.s3.sse = app::object_encryption::kms;
         to.s3.sse_kms_key_id = "key";
       },
       "s3.sse_kms_key_id"},
      {"storage class",
       {with_header("x-amz-storage-class", "GLACIER_IR")},
       [](app::config& to) { to.s3.storage_class_chunks = s3::storage_class("GLACIER_IR"); },
       "s3.storage_class_chunks"},
      {"checksums",
       {with_header("x-amz-checksum-algorithm"), with_header("x-amz-checksum-crc32")},
       {},
       "",
       false,
       backup_rig::part_bytes,
       "x-amz-checksum-crc32"},
      {"Content-MD5",
       {with_header("content-md5")},
       {},
       "",
       false,
       backup_rig::part_bytes,
       "Content-MD5"},
      {"conditions",
       {with_header("if-none-match"), with_header("if-match")},
       {},
       "",
       false,
       backup_rig::part_bytes,
       "If-None-Match"},
      {"Expect", {with_header("expect")}, {}, "", false, mebibyte, "Expect"},
      {"unsigned bodies",
       {with_header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")},
       {},
       "",
       true,
       backup_rig::part_bytes,
       "UNSIGNED-PAYLOAD"},
      {"ListMultipartUploads",
       {request_match(s3_verb::list_uploads, 1, 0)},
       {},
       "",
       false,
       backup_rig::part_bytes,
       "ListMultipartUploads"},
  };
  return all;
}

const std::vector<thing>& further_things() {
  static const std::vector<thing> all = {
      {"class of manifests",
       {with_header("x-amz-storage-class", "STANDARD_IA")},
       [](app::config& to) { to.s3.storage_class_manifest = s3::storage_class("STANDARD_IA"); },
       "s3.storage_class_manifest"},
      {"the checksum's form",
       {with_header("x-amz-checksum-type")},
       {},
       "",
       false,
       backup_rig::part_bytes,
       "x-amz-checksum-type"},
      {"checksums asked for",
       {with_header("x-amz-checksum-algorithm"), with_header("x-amz-checksum-crc32")},
       [](app::config& to) { to.s3.checksum = app::checksum_choice::crc32; },
       "s3.checksum"},
      {"unsigned bodies asked for",
       {with_header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")},
       [](app::config& to) { to.s3.payload_signing = s3::payload_signing::unsigned_body; },
       "s3.payload_signing"},
      {"AbortMultipartUpload", {request_match(s3_verb::abort_upload, 1, 0)}, {}, ""},
      {"ListParts", {request_match(s3_verb::list_parts, 1, 0)}, {}, ""},
      {"ACL",
       {with_header("x-amz-acl")},
       [](app::config& to) { to.s3.acl = app::object_acl::bucket_owner_full_control; },
       "s3.acl"},
      {"tags",
       {with_header("x-amz-tagging", "a%20b=c")},
       [](app::config& to) { to.s3.tags = {{"a b", "c"}}; },
       "s3.tags"},
  };
  return all;
}

scripted_s3_options options_for(const thing& what) {
  scripted_s3_options options;
  options.enforce_part_minimum = false;
  options.tls = what.tls;
  return options;
}

struct cell {
  explicit cell(const thing& what) : server(options_for(what)), rig(what.part_bytes * 5 / 2) {
    rig.settings.s3.endpoint_url = what.tls ? server.https_url() : server.url();
    rig.settings.s3.ca_bundle = what.tls ? server.ca_path() : "";
    rig.settings.s3.part_size_bytes = what.part_bytes;
    rig.settings.s3.chunk_size_bytes = 2 * what.part_bytes;
    rig.settings.s3.retry_for = std::chrono::milliseconds(300);
    if (what.asked_for) {
      what.asked_for(rig.settings);
    }
  }
  void refuse(const thing& what, const way& how) {
    for (const request_match& one : what.refused) {
      server.script(one, how.answer());
    }
  }

  // "" where every check is content.
  std::string doctor_text() {
    auto loop = engine::reactor::create();
    BOOST_REQUIRE(loop.has_value());
    const engine::environment_lookup lookup = [this](std::string_view name) {
      const auto found = rig.environment.find(std::string(name));
      return found == rig.environment.end() ? std::nullopt : std::optional(found->second);
    };
    const app::services with{**loop, rig.log, rig.clock, rig.settings, rig.disk,   lookup,
                             {},     nullptr, nullptr,   {},           &rig.tuning};
    auto connection = app::store_connection::open(with);
    BOOST_REQUIRE(connection.has_value());
    app::store_doctor doctor(with, **connection, rig.settings.subvolumes, true);
    std::string text;
    for (const app::health_check& one : (*loop)->run(doctor.run())) {
      if (one.how == app::check_outcome::failed) {
        text += one.check + ": " + one.found + "; " + one.remedy + "\n";
      }
    }
    (*loop)->run((*connection)->close());
    return text;
  }

  [[nodiscard]] std::size_t events(const std::string& name, const std::string& part) const {
    return static_cast<std::size_t>(
        std::count_if(rig.log.lines.begin(), rig.log.lines.end(), [&](const std::string& line) {
          return line.starts_with(name + " ") && line.find(part) != std::string::npos;
        }));
  }

  scripted_s3_server server;
  backup_rig rig;
};

void expect_agreement(const thing& what, const way& how) {
  cell here(what);
  here.refuse(what, how);
  const std::string doctor = here.doctor_text();
  BOOST_TEST(here.server.object_count() == 0U, "doctor left an object");
  here.rig.log.lines.clear();
  const std::string backup = here.rig.run_text();
  if (*what.key == '\0') {
    BOOST_TEST(backup == "done");
    BOOST_TEST(doctor == "");
    BOOST_TEST(here.events("optional_feature_refused", what.left_out) ==
               (*what.left_out == '\0' ? 0U : 1U));
  } else {
    BOOST_TEST(backup.find(what.key) != std::string::npos, backup);
    BOOST_TEST(doctor.find(what.key) != std::string::npos, doctor);
    BOOST_TEST(here.events("request_retried", "") == 0U);
  }
  BOOST_TEST(here.rig.left.empty());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(refusal_matrix)

BOOST_AUTO_TEST_CASE(each_thing_refused_in_each_way_is_done_without_or_named) {
  const leak_check before;
  for (const thing& what : things()) {
    for (const way& how : ways()) {
      BOOST_TEST_CONTEXT(what.name << " refused with " << how.name) {
        expect_agreement(what, how);
      }
    }
  }
  BOOST_TEST(before.found() == std::vector<std::string>(), boost::test_tools::per_element());
}

// Members of the kind that the matrix does not name.
BOOST_AUTO_TEST_CASE(what_else_is_sent_is_done_without_or_named_likewise) {
  const way further[] = {
      {"411", [] { return scripted_action::answer(411, "MissingContentLength"); }},
      {"422 as a page", [] { return scripted_action::page(422); }},
  };
  for (const thing& what : further_things()) {
    for (const way& how : further) {
      BOOST_TEST_CONTEXT(what.name << " refused with " << how.name) {
        expect_agreement(what, how);
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
