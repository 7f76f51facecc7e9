# Varnish at the edge: asks its parent, to which it passes the version on as it got it.
vcl 4.1;

backend parent {
  .host = "127.0.0.1";
  .port = "9201";
}

include "./cache.vcl";
