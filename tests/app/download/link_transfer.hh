// A stream in chunks in a store, and a link of it on its way into a pipe.
#pragma once

#include "app/download/download_link.hh"
#include "app/records/kept_parts.hh"
#include "engine/sha256.hh"
#include "tests/app/backup/send_stream.hh"
#include "tests/app/support.hh"
#include "tests/engine/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/bent_store.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"
#include "tests/support/real_btrfs.hh"

#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace bts3::testing {

inline constexpr std::size_t link_part_bytes = 64 * 1024;

// A stream in chunks in a store, and what comes out of the pipe.
class link_transfer {
 public:
  link_transfer(std::size_t stream_bytes, std::size_t chunks, bool with_parts,
                std::string chunks_class = "STANDARD", std::size_t part = link_part_bytes)
      : part_length(part),
        loop(engine::testing::make_reactor()),
        clock(reference_time),
        stored_as(std::move(chunks_class)),
        objects(*loop, rules_with(clock)),
        store(objects),
        with{*loop, log, clock, settings, real_btrfs(), no_environment, {}},
        stream(stream_of(stream_bytes)) {
    std::signal(SIGPIPE, SIG_IGN);
    const std::size_t each = (stream.size() + chunks - 1) / chunks;
    for (std::size_t at = 0; at < stream.size(); at += each) {
      add_chunk(stream.substr(at, each), with_parts);
    }
  }

  void add_chunk(const std::string& body, bool with_parts) {
    app::located_chunk chunk;
    chunk.key = s3::object_key("chunk-" + std::to_string(located.size()) + ".bin");
    objects.put(chunk.key.str(), body, stored_as);
    chunk.record.key = chunk.key.str();
    chunk.record.size = body.size();
    chunk.record.sha256 = digest_of(body);
    chunk.info.size = body.size();
    chunk.info.tag = objects.find(chunk.key.str())->tag;
    chunk.info.stored_as = s3::storage_class(stored_as);
    if (with_parts) {
      chunk.record.part_size = part_length;
      engine::sha256_hasher hasher;
      for (std::size_t at = 0; at + part_length < body.size(); at += part_length) {
        hasher.update(octets_of(std::string_view(body).substr(at, part_length)));
        chunk.record.part_states.push_back(hasher.state()->words);
      }
    }
    located.push_back(std::move(chunk));
  }

  // Runs it into a pipe that a thread drains, at most `limit` bytes and then closes.
  engine::result<void> run(bool verify_first = false, std::size_t limit = SIZE_MAX) {
    auto ends = engine::make_pipe();
    BOOST_REQUIRE(ends.has_value());
    BOOST_REQUIRE(engine::set_nonblocking(ends->write_end.get()).has_value());
    engine::unique_fd reader = std::move(ends->read_end);
    std::thread drain([&] {
      std::string piece(4096, '\0');
      while (released.size() < limit) {
        const ssize_t count = ::read(reader.get(), piece.data(), piece.size());
        if (count <= 0) {
          break;
        }
        released.append(piece, 0, static_cast<std::size_t>(count));
      }
      reader.reset();
    });
    engine::result<void> outcome = engine::ok();
    {
      engine::buffer_pool pool(*loop, part_length, 3, log);
      engine::hash_worker hashes(*loop);
      if (spool_parts > 0) {
        make_spool();
      }
      {
        app::download_link link(with, store, pool, hashes, located, nullptr, thaw.get(),
                                spool.get());
        if (expected) {
          link.expect(*expected);
        }
        std::optional<app::kept_parts> kept;
        if (keep_limit > 0) {
          kept.emplace(with, target, keep_limit);
          loop->run(kept->begin(manifest));
          link.keep_in(*kept);
          if (when_begun) {
            when_begun();
          }
        }
        if (verify_first) {
          outcome = loop->run(link.verify_first());
        }
        if (outcome) {
          outcome = loop->run(link.run(ends->write_end.get()));
        }
        kept_before = link.bytes_kept_before();
      }
      BOOST_TEST(pool.free_slots() == 3u);
      BOOST_TEST((!spool || spool->free_parts() == spool->parts()));
      BOOST_TEST((thaw || objects.in_flight_max() <= 3u));
    }
    ends->write_end.reset();
    drain.join();
    return outcome;
  }

  // As when the link was received whole.
  void forget() {
    app::kept_parts kept(with, target, keep_limit);
    loop->run(kept.forget());
  }

  // Waiting for it moves the clock.
  void thaw_first() {
    app::thaw_policy policy = app::thaw_policy_of(settings, std::nullopt, std::nullopt);
    policy.timeout = std::chrono::days(3);
    policy.sleep = [this](std::chrono::nanoseconds duration, engine::stop_token) {
      return nap(this, duration);
    };
    thaw = std::make_unique<app::chain_thaw>(with, store, "data", located, policy);
    auto ready = loop->run(thaw->make_readable({}));
    BOOST_REQUIRE_MESSAGE(ready.has_value(), error_text(ready));
  }

  std::size_t part_length;
  std::unique_ptr<engine::reactor> loop;
  fixed_clock clock;
  std::string stored_as;
  memory_store objects;
  bent_store store;
  engine::testing::recording_log log;
  app::config settings;
  app::services with;
  std::string stream;
  std::vector<app::located_chunk> located;
  std::string released;
  std::optional<app::expected_stream> expected;
  std::unique_ptr<app::chain_thaw> thaw;
  std::size_t spool_parts = 0;   // 0: without
  std::uint64_t keep_limit = 0;  // 0: nothing is kept
  std::string target = "/target";
  std::string manifest = "manifest";
  std::function<void()> when_begun;
  std::uint64_t kept_before = 0;  // of the last run
  scratch_directory scratch;
  std::unique_ptr<engine::spool> spool;

 private:
  void make_spool() {
    engine::spool_options options;
    options.directory = scratch / "";
    options.budget_bytes = spool_parts * link_part_bytes;
    options.part_bytes = link_part_bytes;
    auto made = engine::spool::create(*loop, std::move(options), log);
    BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
    spool = std::move(*made);
  }

  static memory_store_options rules_with(const engine::clock& clock) {
    memory_store_options rules;
    rules.clock = &clock;
    return rules;
  }
  static engine::task<engine::result<void>> nap(link_transfer* self,
                                                std::chrono::nanoseconds duration) {
    self->clock.time += std::chrono::duration_cast<std::chrono::seconds>(duration);
    auto yielding = self->loop->yield();
    co_await std::move(yielding);
    co_return engine::ok();
  }
};

}  // namespace bts3::testing
