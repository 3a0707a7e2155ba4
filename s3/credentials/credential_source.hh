// One place that credentials come from. Each source asks its place anew at every call and keeps
// nothing; credential_chain puts them in order, credential_provider caches what they give.
#pragma once

#include "engine/clock.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/credentials/credentials.hh"
#include "s3/http/http_transport.hh"

#include <string>

namespace bts3::s3 {

// What the sources work with; the references outlive them.
struct source_context {
  engine::reactor& loop;
  http_transport& transport;
  const engine::clock& clock;
  engine::log_sink& log;
  engine::environment_lookup environment;
  std::string region;  // STS's, where neither environment nor profile name one
};

class credential_source {
 public:
  virtual ~credential_source() = default;
  // Asks once, without retries. Errors: nothing_in() where nothing is configured; unusable() where
  // repeating cannot help; `retry` where it can (network, 5xx, throttling); `cancelled`. No message
  // quotes a secret.
  virtual engine::task<engine::result<credentials>> find(engine::stop_token stop) = 0;
};

}  // namespace bts3::s3
