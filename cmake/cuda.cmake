# Decides whether the CUDA kernels are built, and for which architectures.
#
# Sets FGSBIR_CUDA_SOURCES, _DEFINITIONS, _LIBRARIES, _ARCHITECTURES and _TOOLKIT: all empty without CUDA.

set(FGSBIR_CUDA_SOURCES)
set(FGSBIR_CUDA_DEFINITIONS)
set(FGSBIR_CUDA_LIBRARIES)
set(FGSBIR_CUDA_ARCHITECTURES "")
set(FGSBIR_CUDA_TOOLKIT "")

if(NOT FGSBIR_CUDA STREQUAL "OFF")
  # A toolkit off PATH counts too: CUDACXX and CUDA_HOME first, then the usual place.
  if(NOT DEFINED CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    find_program(FGSBIR_NVCC nvcc
      HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda /opt/cuda PATH_SUFFIXES bin)
    if(FGSBIR_NVCC)
      set(CMAKE_CUDA_COMPILER ${FGSBIR_NVCC})
    endif()
  endif()
  # From Turing on: every major architecture the toolkit knows (CUDAARCHS overrides).
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
    set(CMAKE_CUDA_ARCHITECTURES all-major)
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
  elseif(FGSBIR_CUDA STREQUAL "ON")
    message(FATAL_ERROR "FGSBIR_CUDA is ON, but no CUDA compiler was found: put nvcc on PATH or set CUDA_HOME")
  endif()
endif()

if(CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  file(GLOB FGSBIR_CUDA_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/csrc/cuda/*.cu)
  list(APPEND FGSBIR_CUDA_SOURCES csrc/bindings_cuda.cpp)
  set(FGSBIR_CUDA_DEFINITIONS FGSBIR_WITH_CUDA)
  set(FGSBIR_CUDA_LIBRARIES CUDA::cudart_static)
  set(FGSBIR_CUDA_TOOLKIT ${CMAKE_CUDA_COMPILER_VERSION})
  set(FGSBIR_CUDA_ARCHITECTURES ${CMAKE_CUDA_ARCHITECTURES})
  message(STATUS "fgsbir_ext: CUDA kernels with ${CMAKE_CUDA_COMPILER} (${FGSBIR_CUDA_TOOLKIT}) for ${FGSBIR_CUDA_ARCHITECTURES}")
else()
  message(STATUS "fgsbir_ext: no CUDA toolkit (or FGSBIR_CUDA=OFF): the C++ kernels alone")
endif()
