// The index of a stream as it passes: in a file without a name, plain and sealed, and what becomes
// of it where the disk does not do its part.
#include "app/upload/index_making.hh"

#include "app/host/file_body.hh"

#include "btrfs/stream_inspector.hh"
#include "engine/age/sealed_file.hh"
#include "tests/app/support.hh"
#include "tests/support/index_of.hh"
#include "tests/support/send_commands.hh"

#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

using namespace bts3;
using namespace bts3::testing;

namespace {

// Many files, so that the index has several frames.
std::string many_files(unsigned files) {
  std::string stream = send::header() + send::subvol();
  unsigned seed = 1;
  for (unsigned i = 0; i < files; ++i) {
    std::string name = "directory/" + std::to_string(i) + "-";
    for (const char c : send::noise(8, seed)) {  // which does not pack
      name += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
      name += "0123456789abcdef"[static_cast<unsigned char>(c) & 15];
    }
    stream += send::command(3, send::path(name) + send::attribute(3, send::number(i, 8)));
    stream += send::command(15, send::path(name) + send::attribute(18, send::number(0, 8)) +
                                    send::attribute(19, send::noise(20, seed)));
  }
  return stream + send::end();
}

struct scene {
  // Feeds the stream in pieces, with the loop's turn between them.
  static engine::task<engine::result<app::made_index>> pass(engine::reactor& loop,
                                                            app::index_making& making,
                                                            std::string stream) {
    btrfs::stream_inspector inspector;
    inspector.observe(&making.observer());
    const auto bytes = std::as_bytes(std::span(stream.data(), stream.size()));
    for (std::size_t at = 0; at < bytes.size(); at += 100'000) {
      auto fed =
          inspector.feed(bytes.subspan(at, std::min<std::size_t>(100'000, bytes.size() - at)));
      BOOST_REQUIRE(fed.has_value());
      auto turn = loop.yield();
      co_await std::move(turn);
    }
    auto finishing = making.finish();
    co_return co_await std::move(finishing);
  }
  static engine::task<void> pass_and_drop(engine::reactor& loop, app::index_making& making,
                                          std::string stream) {
    btrfs::stream_inspector inspector;
    inspector.observe(&making.observer());
    auto fed = inspector.feed(std::as_bytes(std::span(stream.data(), stream.size())));
    BOOST_REQUIRE(fed.has_value());
    auto turn = loop.yield();
    co_await std::move(turn);
    auto dropping = making.drop();
    co_await std::move(dropping);
  }
  // As the body of a request brings it, in pieces as small as its buffers.
  static engine::task<std::string> body_of(engine::reactor& loop, int file, std::uint64_t size) {
    app::file_body body(loop, file, size);
    BOOST_TEST(body.size() == size);
    std::string all;
    for (unsigned turn = 0; all.size() < size; ++turn) {
      auto fetching = body.fetch(turn % body.buffers(), all.size(), {});
      auto fetched = co_await std::move(fetching);
      BOOST_REQUIRE(fetched.has_value());
      all.append(reinterpret_cast<const char*>(fetched->data()), fetched->size());
    }
    co_return all;
  }

  [[nodiscard]] engine::result<app::made_index> make(
      const std::string& stream, const std::string& in,
      app::index_making::limits most = app::index_making::limits(),
      std::optional<age::x25519_recipient> seal_for = std::nullopt) {
    making = std::make_unique<app::index_making>(*loop, in, seal_for, age::system_random(), most);
    return loop->run(pass(*loop, *making, stream));
  }
  [[nodiscard]] std::string content(std::uint64_t size) const {
    return loop->run(body_of(*loop, making->descriptor(), size));
  }

  scratch_directory place;
  std::string directory = place / "";
  std::unique_ptr<engine::reactor> loop = std::move(*engine::reactor::create());
  std::unique_ptr<app::index_making> making;
};

std::string sha256_of(const std::string& text) {
  engine::sha256_hasher hasher;
  hasher.update(std::as_bytes(std::span(text.data(), text.size())));
  return hasher.digest().hex();
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(index_making_suite, scene)

BOOST_AUTO_TEST_CASE(the_index_of_a_stream_is_in_a_file_that_nobody_sees) {
  const std::string stream = many_files(40'000);
  const auto made = make(stream, directory);
  BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().text()));
  const std::string index = content(made->size);
  BOOST_TEST((index == index_of(stream)));
  BOOST_TEST(index.size() > 300'000U);  // more than a buffer of the body
  BOOST_TEST(made->sha256.hex() == sha256_of(index));
  BOOST_TEST(!made->plain_size.has_value());
  BOOST_TEST(std::filesystem::is_empty(directory));
}

BOOST_AUTO_TEST_CASE(what_is_sealed_is_an_age_file_on_the_disk_already) {
  auto user = age::x25519_identity::generate(age::system_random());
  BOOST_REQUIRE(user.has_value());
  const std::string stream = many_files(20'000);
  const auto made = make(stream, directory, {}, user->recipient());
  BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().text()));
  const std::string file = content(made->size);
  BOOST_TEST(file.starts_with("age-encryption.org/v1\n"));
  BOOST_TEST(file.find("btrfs_to_s3 index") == std::string::npos);
  BOOST_TEST(made->sha256.hex() == sha256_of(file));
  const auto opened =
      age::open_file(std::as_bytes(std::span(file.data(), file.size())), std::span(&*user, 1));
  BOOST_REQUIRE(opened.has_value());
  const std::string index = index_of(stream);
  BOOST_TEST((opened->view() == index));
  BOOST_TEST(made->plain_size.value() == index.size());
  BOOST_TEST(made->plain_sha256.value().hex() == sha256_of(index));
}

BOOST_AUTO_TEST_CASE(a_disk_that_does_not_do_its_part_costs_the_index_and_nothing_else) {
  const std::string stream = many_files(20'000);
  const auto problem = [&](app::index_making::limits most, const std::string& where) {
    const auto made = make(stream, where, most);
    BOOST_REQUIRE(!made.has_value());
    BOOST_TEST(making->descriptor() == -1);
    return made.error().text();
  };
  app::index_making::limits full;
  full.room_left_bytes = ~std::uint64_t{0};
  BOOST_TEST(problem(full, directory).find("No space left on device") != std::string::npos);
  BOOST_TEST(problem(full, directory).find("free space there") != std::string::npos);
  app::index_making::limits slow;
  slow.waiting_bytes = 1000;
  BOOST_TEST(problem(slow, directory).find("too slowly") != std::string::npos);
  app::index_making::limits small;
  small.object_bytes = 1000;
  BOOST_TEST(problem(small, directory).find("more than 1000 bytes") != std::string::npos);
  const std::string nowhere = directory + "nowhere";
  BOOST_TEST(problem({}, nowhere).find(nowhere) != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_stream_that_did_not_end_has_no_index) {
  std::string stream = many_files(100);
  stream.resize(stream.size() - send::end().size());
  const auto made = make(stream, directory);
  BOOST_REQUIRE(!made.has_value());
  BOOST_TEST(made.error().text().find("the stream has not ended") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(without_randomness_nothing_is_written_that_should_be_sealed) {
  auto user = age::x25519_identity::generate(age::system_random());
  making = std::make_unique<app::index_making>(*loop, directory, user->recipient(),
                                               [](std::span<std::byte>) { return false; });
  const auto made = loop->run(pass(*loop, *making, many_files(20'000)));
  BOOST_REQUIRE(!made.has_value());
  BOOST_TEST(making->descriptor() == -1);
}

BOOST_AUTO_TEST_CASE(one_that_is_dropped_gives_back_what_was_written) {
  making =
      std::make_unique<app::index_making>(*loop, directory, std::nullopt, age::system_random());
  loop->run(pass_and_drop(*loop, *making, many_files(20'000)));
  BOOST_TEST(making->descriptor() == -1);
}

BOOST_AUTO_TEST_SUITE_END()
