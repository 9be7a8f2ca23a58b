"""ecommerce: a shop's models, built on minidl."""
