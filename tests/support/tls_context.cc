#include "tests/support/tls_context.hh"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <random>
#include <stdexcept>
#include <utility>

namespace bts3::testing {
namespace {

void require(bool condition, const char* what) {
  if (!condition) {
    throw std::runtime_error(std::string("TLS context: ") + what);
  }
}

}  // namespace

SSL_CTX* make_tls_context(const std::string& pem_path, std::chrono::seconds valid_from) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  require(key != nullptr && certificate != nullptr, "key");
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), valid_from.count());
  X509_gmtime_adj(X509_getm_notAfter(certificate), valid_from.count() + 25L * 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  // OpenSSL looks for an authority by its name: two servers' must not have the same one.
  const std::string common_name = "scripted S3 " + std::to_string(std::random_device{}());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(certificate, name);
  const std::pair<int, const char*> extensions[] = {
      {NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost"},
      {NID_basic_constraints, "critical,CA:TRUE"}};
  for (const auto& [kind, value] : extensions) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
    require(extension != nullptr, "extension");
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  require(X509_sign(certificate, key, EVP_sha256()) > 0, "sign");
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  require(context != nullptr, "context");
  require(SSL_CTX_use_certificate(context, certificate) == 1, "certificate");
  require(SSL_CTX_use_PrivateKey(context, key) == 1, "private key");
  std::FILE* file = std::fopen(pem_path.c_str(), "w");
  require(file != nullptr, "certificate file");
  PEM_write_X509(file, certificate);
  std::fclose(file);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return context;
}

}  // namespace bts3::testing
